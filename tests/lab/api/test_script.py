"""Scripts that do what configurations do."""

import runpy
import sys

import numpy as np
import pytest

from optchain import lab
from optchain.lab.commands.main import main

OWN = """
import flax.linen as nn
import numpy as np
import optax


def points(count: int = 60):
    x = np.random.default_rng(0).normal(size=(count, 3))
    return x, x[:, 0] > 0


class Net(nn.Module):
    outputs: int
    width: int = 4

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.relu(nn.Dense(self.width)(x)))


def halved(factor: float = 0.5):
    return optax.scale(factor)


def spread(rows):
    return 2 * rows


def kernels(params):
    return {name: {key: key == "kernel" for key in x} for name, x in params.items()}
"""
TRAIN = """
[train]
steps = 20
batch = 16
evaluate_every = 10
seed = 3
"""
OF_OWN = """
[task]
use = "script_own.py:points"
validation = 0.2

[model]
use = "script_own.py:Net"
width = 6

[preprocess.spread]
use = "script_own:spread"

[optimizer.adam]
use = "scale_by_adam"

[optimizer.decay]
use = "add_decayed_weights"
weight_decay = 0.1
mask = "script_own.py:kernels"

[optimizer.own]
use = "script_own.py:halved"

[optimizer.lr]
use = "scale_by_learning_rate"
learning_rate = 1e-2
"""
OF_FILE = """
[task]
use = "csv"
path = "data/numbers.csv"
target = "y"
validation = 0.25

[model]
hidden = [4]

[metrics.r2]
use = "r2"

[optimizer.lr]
use = "sgd"
learning_rate = 1e-2
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "script_own.py").write_text(OWN)
    (tmp_path / "data").mkdir()
    rows = np.random.default_rng(0).normal(size=(40, 2))
    text = "\n".join(f"{a:.3f},{b:.3f},{a - b:.3f}" for a, b in rows)
    (tmp_path / "data" / "numbers.csv").write_text(f"a,b,y\n{text}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("script_own", None)


def ran(project, text, command, *sets):
    """The script of a configuration, and what the command and the script gave."""
    (project / "this.toml").write_text(text)
    assert main([command, "this.toml", *(part for x in sets for part in ("--set", x)), "--out", "toml"]) == 0
    script = lab.as_python("this.toml", list(sets), out="python")
    (project / "this.py").write_text(script)
    runpy.run_path(str(project / "this.py"))
    return script, lab.open("toml"), lab.open("python")


@pytest.mark.full
def test_a_training_of_own_objects_gives_the_same_scores(project, capsys):
    script, one, other = ran(project, TRAIN + OF_OWN, "train")
    assert "from script_own import Net\nfrom script_own import halved\n" in script and "HERE" not in script
    assert '"mask": kernels' in script and 'model={"use": Net, "width": 6}' in script
    assert one.scores == other.scores and np.array_equal(one.losses, other.losses)
    capsys.readouterr()
    assert main(["as-python", "this.toml", "--set", "train.seed=5"]) == 0
    assert "    seed=5,\n" in capsys.readouterr().out


@pytest.mark.full
def test_a_training_of_a_built_in_task_gives_the_same_scores(project):
    epochs = TRAIN.replace("steps = 20", "epochs = 4")
    script, one, other = ran(project, epochs + OF_FILE, "train", "train.seed=4")
    assert '"path": str(HERE / "data/numbers.csv")' in script and "epochs=4,\n" in script and "seed=4,\n" in script
    assert one.scores == other.scores and "r2" in one.scores["train"]


@pytest.mark.full
def test_a_study_gives_the_same_trials(project):
    search = '[search]\ntrials = 2\nfresh = 1\nseed = 5\nsampler = { use = "optuna.samplers:RandomSampler" }\n'
    space = '[space]\n"model.width" = { use = "choice", values = [4, 8] }\n'
    space += '"optimizer.lr.learning_rate" = { use = "log", low = 1e-3, high = 1e-1 }\n'
    script, one, other = ran(project, search + space + TRAIN + OF_OWN, "tune")
    assert "search_seed=5,\n" in script and 'sampler={"use": RandomSampler}' in script
    assert [row["score"] for row in one.trials] == [row["score"] for row in other.trials]
    assert one.best == other.best and one.fresh[0].scores == other.fresh[0].scores


@pytest.mark.slow
def test_a_comparison_gives_the_same_standings(project):
    text = "target = 0.5\n[search]\ntrials = 1\nfresh = 2\n" + TRAIN + OF_OWN.partition("[optimizer.adam]")[0]
    for name in ("sgd", "adam"):
        text += f'[optimizers.{name}]\ndefault = true\nspace = {{ "{name}.learning_rate" = {{ use = "log", low = 1e-3, '
        text += f'high = 1e-1 }} }}\n[optimizers.{name}.chain.{name}]\nuse = "{name}"\nlearning_rate = 1e-2\n'
        text += '[optimizers.sgd.chain.own]\nuse = "script_own.py:halved"\n' if name == "sgd" else ""
    script, one, other = ran(project, text, "compare")
    assert "target=0.5,\n" in script and '"own": {"use": halved}' in script
    assert one.standings == other.standings
    assert {name: study.score for name, study in one.studies.items()} == {
        name: study.score for name, study in other.studies.items()
    }


def test_names_that_are_taken_get_others_and_files_elsewhere_are_named(project):
    (project / "below").mkdir()
    (project / "below" / "net.py").write_text(OWN)
    (project / "script_other.py").write_text("from script_own import points as Net\n")
    text = OF_OWN.replace('"script_own.py:points"', '"script_other.py:Net"')
    text = text.replace('"script_own.py:halved"', '"below/net.py:halved"')
    (project / "this.toml").write_text(TRAIN + text)
    script = lab.as_python(project / "this.toml")
    assert "from script_other import Net\n" in script and "from script_own import Net as script_own_Net\n" in script
    assert '"own": {"use": str(HERE / "below/net.py:halved")}' in script
    compile(script, "this.py", "exec")
    with pytest.raises(lab.InputError, match="model.widht: unknown key; did you mean 'width'"):
        lab.as_python(project / "this.toml", ["model.widht=3"])
