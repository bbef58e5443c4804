"""A new project runs at once."""

import pytest
import small_runs

from optchain.lab.commands.main import main
from optchain.lab.commands.new import PROJECT
from optchain.lab.runs import config, run
from optchain.lab.tuning.tables import Study


def test_a_new_project_trains_and_can_be_tuned(tmp_path, capsys):
    folder = tmp_path / "my project"
    assert main(["new", str(folder)]) == 0
    assert f"cd '{folder}'" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"task.py", "model.py", "train.toml", "tune.toml"}
    short = ["--set", "train.steps=60", "--set", "train.evaluate_every=60", "--out", str(tmp_path / "run")]
    assert main(["train", str(folder / "train.toml"), *short]) == 0
    assert run.find(tmp_path / "run").result["scores"]["test"]["parameters"]["accuracy"] > 0.4
    study = config.load(folder / "tune.toml", table=Study)
    assert set(study.space) == {"model.width", "optimizer.lr.peak"}


@pytest.mark.full
def test_a_new_project_is_tuned(tmp_path):
    assert main(["new", str(tmp_path / "project")]) == 0
    short = ("--set", "search.trials=2", "--set", "search.fresh=1")
    done = small_runs.run("tune", tmp_path / "project" / "tune.toml", *short, "--out", tmp_path / "study")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "study" / "report.html").is_file()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["new", str(tmp_path)]) == 2 and main(["new", str(tmp_path / "thesis.txt")]) == 2
    assert "exists and is not empty; choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_files_of_a_project_are_read_as_code_of_ours_is():
    assert sorted(path.name for path in PROJECT.glob("*.*")) == ["model.py", "task.py", "train.toml", "tune.toml"]
