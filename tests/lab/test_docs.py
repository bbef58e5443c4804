"""The guide of the lab runs as it stands."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from optchain.inspect.unit_axes import axes_of
from optchain.lab.commands.main import main
from optchain.lab.models.tables import Network
from optchain.lab.runs import run
from optchain.lab.settings.grow import Grow, models_of
from optchain.lab.settings.mesh import Mesh

GUIDE = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the files of the guide."""
    for code in blocks("python"):
        if code.startswith("# "):
            (tmp_path / code.splitlines()[0][2:]).write_text(code)
    draw = np.random.default_rng(0)
    rows = ["length,colour,species"]
    for species, mean in (("iris", 1.0), ("rose", 3.0), ("lily", 5.0)):
        for colour in draw.choice(["red", "blue", ""], 40):
            rows.append(f"{draw.normal(mean, 0.5):.3f},{colour},{species}")
    (tmp_path / "flowers.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_configuration_trains_and_predicts(project, capsys):
    (project / "train.toml").write_text(blocks("toml")[0])
    assert main(["train", "train.toml"]) == 0
    scores = run.find(project / "runs" / "train").result["scores"]["test"]["parameters"]
    assert scores["accuracy"] > 0.8 and set(scores) == {"loss", "accuracy", "brier"}
    (project / "new.csv").write_text("length,colour\n1.0,red\n5.1,green\n")
    capsys.readouterr()
    assert main(["predict", "runs/train", "new.csv"]) == 0
    out, err = capsys.readouterr()
    assert "green" in err and [line.split(",")[0] for line in out.splitlines()[1:]] == ["iris", "lily"]


def test_a_task_of_several_arrays_is_read(project):
    text = '[task]\nuse = "task.py:two_views"\nvalidation = 50\n[model]\nuse = "own.py:Both"\n'
    text += "[train]\nsteps = 100\nbatch = 16\n[optimizer.adam]\nuse = 'adam'\nlearning_rate = 0.03\n"
    (project / "train.toml").write_text(text)
    (project / "own.py").write_text(
        "import flax.linen as nn, jax.numpy as jnp\n"
        "class Both(nn.Module):\n"
        "    outputs: int\n"
        "    @nn.compact\n"
        "    def __call__(self, left, right):\n"
        "        return nn.Dense(self.outputs)(jnp.concatenate([left, right], 1))\n"
    )
    assert main(["train", "train.toml", "--out", "run"]) == 0
    assert run.find(project / "run").result["scores"]["validation"]["parameters"]["accuracy"] > 0.8


@pytest.mark.full
def test_the_code_runs(project):
    (code,) = [code for code in blocks("python") if code.startswith("import")]
    scope = {}
    exec(compile(code, "lab.md", "exec"), scope)
    assert scope["study"].best["model.width"] in (8, 16) and len(scope["study"].trials) == 4
    assert set(scope["run"].predict(scope["x"][:3])["class"]) <= {"yes", "no"}


@pytest.mark.full
def test_the_loop_over_configurations_runs(project):
    (project / "train.toml").write_text(blocks("toml")[0])
    (code,) = [code for code in blocks("python") if code.startswith("from")]
    scope = {}
    exec(compile(code, "lab.md", "exec"), scope)
    assert {name: len(xs) for name, xs in scope["losses"].items()} == {"batch 16": 3, "batch 64": 3}
    assert "<svg" in (project / "runs" / "batches.html").read_text()


def test_the_table_of_a_mesh_is_one():
    (text,) = (block for block in blocks("toml") if block.startswith("[mesh]"))
    assert Mesh.model_validate(tomllib.loads(text)["mesh"]).fsdp == 4


def test_the_tables_of_a_growth_are_ones():
    built_in, own = (tomllib.loads(text) for text in blocks("toml") if "[[grow]]" in text)
    found = models_of(Network.model_validate(built_in["model"]), [Grow.model_validate(x) for x in built_in["grow"]])
    assert [x.model_dump()["hidden"] for x in found] == [[64], [128], [128, 128]]
    (table,) = (Grow.model_validate(x) for x in own["grow"])
    assert {name: len(axes_of(text)) for name, text in table.axes.items()} == {
        "Dense_0/kernel": 2,
        "Dense_0/bias": 1,
        "Dense_1/kernel": 2,
    }


@pytest.mark.full
def test_a_stream_is_read(project):
    text = '[task]\nuse = "scans.py:scans"\n[model]\nhidden = [4]\n[preprocess]\n'
    text += "[train]\nsteps = 60\nbatch = 16\n[optimizer.adam]\nuse = 'adam'\nlearning_rate = 0.03\n"
    (project / "train.toml").write_text(text)
    assert main(["train", "train.toml", "--out", "run"]) == 0
    assert run.find(project / "run").result["scores"]["validation"]["parameters"]["accuracy"] > 0.8
