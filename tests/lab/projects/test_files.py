"""What is remembered of a user's files, and projects that are moved."""

import json

import numpy as np
import pytest
from user_projects import RATE, Project, comparison, losses, result, study

from optchain.lab.runs import config
from optchain.lab.runs.run import Run
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import Tuning

MINE = """
    import flax.linen as nn
    import jax.numpy as jnp

    import optchain as oc
    from rules import halve


    class Line(nn.Module):
        outputs: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.outputs)(x)


    class Parabola(Line):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.outputs)(jnp.concatenate([x, x**2], -1))


    def cube(outputs, targets, share: float = 0.0):
        return jnp.abs(outputs[:, 0] - targets) ** 3
"""

RULES = """
    import optchain as oc


    @oc.rule
    class Halve:
        def update(self, g, s, p, t):
            return g / 2, s


    halve = oc.lift(Halve, "halve")
"""

RUN = """
    [task]
    use = "csv"
    path = "data/line.csv"
    target = "y"
    validation = 8

    [model]
    use = "mine.py:Line"

    [loss]
    use = "mine.py:cube"

    [train]
    steps = 6
    batch = 8
    evaluate_every = 3

    [optimizer.halve]
    use = "rules.py:halve"

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-2
"""

SPACE = f"""
    "model.use" = {{ use = "choice", values = ["mine.py:Line", "mine.py:Parabola"] }}
    {RATE}
"""
OPTIMIZERS = {"halve": "rules.py:halve", "adam": "scale_by_adam"}


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "line", mine_py=MINE, rules_py=RULES, run_toml=RUN)
    (project.folder / "data").mkdir()
    numbers = np.random.default_rng(0).normal(size=40)
    project.write("data/line.csv", "x,y\n" + "".join(f"{x:.3f},{2 * x:.3f}\n" for x in numbers))
    return project


def texts_of(folder):
    """The JSON and TOML files of a folder, without the commands by which they were made."""
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".toml"):
            lines = path.read_text().splitlines()
            yield "\n".join(line for line in lines if '"command"' not in line and "# optchain train" not in line)


@pytest.mark.full
def test_a_run_remembers_files_and_says_which_have_changed_or_are_gone(project):
    run = project.train("out/run")
    entries = {entry["key"]: entry for entry in json.loads((run / "run.json").read_text())["objects"]}
    assert set(entries) == {"model", "loss", "optimizer.halve"}
    assert entries["model"]["use"] == "../../mine.py:Line"
    assert set(entries["model"]["files"]) == {"../../mine.py", "../../rules.py"}
    assert "changed" not in project.done("evaluate", run).err
    project.edit("rules.py", "g / 2", "g / 4")
    line = f"changed since {run} began, and taken as it is now: {project.folder / 'rules.py'}"
    new = project.write("new.csv", "x\n1\n")
    for command in (["evaluate", run], ["predict", run, new], ["report", run, "--out", run / "report.html"]):
        assert project.done(*command).err.splitlines().count(line) == 1
    assert line in project.resume("out/run", "train.steps=9").err
    (project.folder / "mine.py").rename(project.folder / "yours.py")
    said = project.command("evaluate", run)
    assert said.code == 2 and f"there is no file {project.folder / 'mine.py'}" in said.err


def test_a_study_that_continues_remembers_the_files_with_which_it_began(project, capsys):
    file, out = project.write("tune.toml", study(RUN, "trials = 1", SPACE)), project.folder / "out"
    for changed in (False, True):
        tuning = Tuning(config.load(file, table=Study), out, "tune.toml", "the command")
        tuning.prepare(overwrite=False)
        Run(out).say_changed()
        assert (f"{project.folder / 'rules.py'}\n" in capsys.readouterr().err) == changed
        project.edit("rules.py", "g / 2", "g / 2.0")


@pytest.mark.full
def test_reports_of_studies_and_comparisons_say_which_files_have_changed(project):
    project.write("tune.toml", study(RUN, "trials = 1\nfresh = 0", SPACE))
    project.write("compare.toml", comparison(RUN, "trials = 1\nfresh = 2", **OPTIMIZERS))
    for command in ("tune", "compare"):
        out = project.folder / command
        again = (command, project.folder / f"{command}.toml", "--out", out)
        assert "changed" not in project.done(*again).err + project.done("report", out).err
    project.edit("rules.py", "g / 2", "g / 2.0")
    for command in ("tune", "compare"):
        out = project.folder / command
        line = f"changed since {out} began, and taken as it is now: {project.folder / 'rules.py'}"
        # To continue says it too, and does not forget it.
        for said in (("report", out), (command, project.folder / f"{command}.toml", "--out", out), ("report", out)):
            assert project.done(*said).err.splitlines().count(line) == 1


@pytest.mark.full
def test_a_project_is_moved_with_all_that_was_made_in_it(project, tmp_path):
    project.train("whole", "train.steps=9")
    project.train()
    project.write("study.toml", study(RUN, "trials = 2\nfresh = 1", SPACE))
    project.done("tune", project.folder / "study.toml", "--out", project.folder / "study")
    assert not [text for text in texts_of(project.folder) if str(project.folder) in text]
    moved = project.moved(tmp_path / "elsewhere")
    run = moved.folder / "run"
    assert "changed" not in moved.done("evaluate", run).err
    moved.done("predict", run, moved.write("new.csv", "x\n1\n"))
    moved.resume("run", "train.steps=9")
    assert losses(run) == losses(moved.folder / "whole")
    assert result(moved.train("best", config="study/best.toml"))["ending"] == "finished"
    moved.done("report", moved.folder / "study")
    more = moved.done("tune", moved.folder / "study.toml", "--out", moved.folder / "study", "--set", "search.trials=3")
    assert "best of 3 trials" in more.out


@pytest.mark.slow
def test_a_comparison_is_moved(project, tmp_path):
    project.write("compare.toml", comparison(RUN, "trials = 2\nfresh = 2", **OPTIMIZERS))
    project.done("compare", project.folder / "compare.toml", "--out", project.folder / "compared")
    assert not [text for text in texts_of(project.folder) if str(project.folder) in text]
    moved = project.moved(tmp_path / "elsewhere")
    moved.done("report", moved.folder / "compared")
    moved.done("compare", moved.folder / "compare.toml", "--out", moved.folder / "compared")
