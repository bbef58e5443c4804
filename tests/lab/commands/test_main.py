import csv
import datetime
import json
import os
import platform
import re
import signal
import sys
import tomllib

import numpy as np
import pytest
import small_runs
from sklearn.datasets import make_circles
from tiers import one_of_each

import optchain as oc
from optchain.lab.commands.main import main
from optchain.lab.comparison import tables as comparison
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.seconds import COLUMNS
from optchain.lab.tuning import space
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import Tuning

CONFIGS = sorted((small_runs.ROOT / "configs").glob("*/*.toml"))
RACES = [path for path in CONFIGS if "tasks" in tomllib.loads(path.read_text())]
COMPARISONS = [path for path in CONFIGS if "optimizers" in tomllib.loads(path.read_text()) and path not in RACES]
CLAIMS = [path for path in CONFIGS if "arms" in tomllib.loads(path.read_text())]
STUDIES = [path for path in CONFIGS if "space" in tomllib.loads(path.read_text())]
RUNS = [path for path in CONFIGS if path not in COMPARISONS + CLAIMS + RACES + STUDIES]
COMMANDS = {"claims": CLAIMS, "compare": COMPARISONS, "race": RACES, "train": RUNS, "tune": STUDIES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, 60 steps, and what its command printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = small_runs.run("train", small_runs.small(folder), "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run", done


@pytest.fixture
def command(capsys):
    """A command in this process, which has imported JAX already: its exit code, and what it prints."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def without_times(folder):
    """The logs of a run but for what depends on the clock, as text."""
    rows = read(folder / "metrics.jsonl")
    for row in rows:
        for name in ("steps_per_second", *COLUMNS.values()):
            row.get("evaluation", {}).pop(name, None)
    return "\n".join(map(json.dumps, rows))


def test_help_answers_without_what_only_commands_need():
    heavy = "{'flax', 'matplotlib', 'optuna', 'orbax', 'pydantic', 'rich', 'sklearn'}"
    code = "import sys; from optchain.lab.commands.main import parser; parser().format_help()"
    code += f"; print({heavy} & {{*sys.modules}})"
    done = small_runs.subprocess.run(
        [sys.executable, "-c", code], cwd=small_runs.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_missing_extra_is_named(tmp_path):
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError('gone', name='pydantic')")
    command = [sys.executable, "-m", "optchain", "report", "runs/none"]
    done = small_runs.subprocess.run(
        command, cwd=small_runs.ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "'pydantic' is not installed; it comes with the extra `lab`: pip install 'optchain[lab]'"
    )


def test_a_run_folder_holds_everything(finished):
    folder, done = finished
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoints", "config.json", "metrics.csv", "metrics.jsonl", "report.html", "result.json", "run.json"),
        *("lint.json", "task.json", "writer.lock"),  # the schedule of 300 steps is longer than the run
    }
    about = json.loads((folder / "run.json").read_text())
    began = datetime.datetime.fromisoformat(about["began"])
    assert abs(datetime.datetime.now(datetime.UTC) - began) < datetime.timedelta(hours=1)
    assert about["host"] == platform.node() and {"jax", "numpy", "optchain"} <= set(about["versions"])
    if (small_runs.ROOT / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}", about["commit"]) and isinstance(about["dirty"], bool)
    assert "finished at step 60" in done.stdout and "test" in done.stdout and str(folder / "report.html") in done.stdout
    rows = read(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 61))
    assert [row["step"] for row in rows if "optimizer" in row] == list(range(5, 61, 5))
    with (folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == ["20", "40", "60"]
    assert [row["evaluation"]["validation_average_loss"] for row in rows if "evaluation" in row] == [
        float(row["validation_average_loss"]) for row in table
    ]
    assert float(table[-1]["lr.learning_rate"]) == rows[-2]["optimizer"]["lr.learning_rate"] > 0


def test_plain_lines_show_loss_metric_rate_and_speed(finished):
    *first, line = finished[1].stderr.strip().splitlines()
    assert first[0] == "train: loading" and first[2] == "compiling"  # before anything that takes seconds
    assert first[1].startswith("warning schedule-cut-off at lr: it ends at step 300; the run ends after 60")
    assert line.startswith("step 60/60  batch_loss ") and "\x1b" not in line
    assert all(name in line for name in ("validation_accuracy", "lr.learning_rate", "steps_per_second"))


def test_the_report_is_one_page_with_everything(finished):
    page = (finished[0] / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 4
    for text in (
        "optchain train",
        "scale_by_adam",
        "average_params",
        "test accuracy",
        "&quot;steps&quot;: 60",
    ):
        assert text in page
    assert not any(text in page for text in ("<script", "<link", "src=", "url(http", ": null"))
    table = page[page.index("<h2>Result</h2>") :]  # the test examples first, which took no part in any choice
    assert re.findall(">(train|validation|test)<", table)[::2] == ["test", "validation", "train"]
    assert {"<!-- loss -->", "<!-- accuracy -->", "<!-- norm -->"} <= set(re.findall("<!-- .* -->", page))


@pytest.mark.full
def test_evaluate_scores_the_checkpoint_as_the_run_did(finished, command):
    code, out, err = command("evaluate", finished[0])
    assert code == 0, err
    assert out.splitlines() == [line for line in finished[1].stdout.splitlines() if " loss " in line]
    assert len(out.splitlines()) == 6  # three splits, two models


@pytest.mark.full
def test_predict_answers_raw_rows(finished, tmp_path, command):
    points, inner = make_circles(40, factor=0.3, noise=0.02, random_state=5)
    np.savetxt(tmp_path / "points.csv", points, delimiter=",", header="x,y", comments="")
    np.save(tmp_path / "points.npy", points)
    answers = [command("predict", finished[0], tmp_path / f"points.{kind}") for kind in ("csv", "npy")]
    assert answers[0] == answers[1] and answers[0][0] == 0, answers
    rows = list(csv.DictReader(answers[0][1].splitlines()))
    assert len(rows) == 40
    trained = restore(run.find(finished[0]))
    model, built = trained.models["average"], trained.experiment
    outputs = built.model.apply(model["params"], model["rest"], built.task.prepare(points))[0]
    assert [row["inner"] == "1" for row in rows] == (outputs[:, 0] > 0).tolist()
    assert np.mean([row["inner"] == "1" for row in rows] == (inner == 1)) > 0.7


def test_bad_input_is_one_message_and_exit_code_2(finished, tmp_path, command):
    (tmp_path / "three.csv").write_text("1,2,3\n")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    file = small_runs.small(tmp_path)
    for arguments, message in [
        (("predict", finished[0], tmp_path / "three.csv"), "rows of 3 numbers; expected 2"),
        (("train", file, "--out", finished[0]), "holds a finished run; choose another --out"),
        (("train", file, "--out", tmp_path / "foreign", "--overwrite"), "is no run of ours; choose another --out"),
        (("train", file, "--set", "train.stesp=3"), "did you mean 'steps'?"),
        (("evaluate", tmp_path), "holds no run"),
    ]:
        code, out, err = command(*arguments)
        assert code == 2 and message in err and not out, err
    done = small_runs.run("evaluate", tmp_path)
    assert done.returncode == 2 and "holds no run" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "foreign" / "thesis.txt").read_text() == "mine"


@pytest.mark.full
def test_a_diverged_run_has_its_own_exit_code_and_a_report(tmp_path, command):
    sets = ("--set", "optimizer.lr={use='scale', step_size=1e38}", "--out", tmp_path / "run")
    for resume in ((), ("--resume",)):
        code, out, err = command("train", small_runs.small(tmp_path), *sets, *resume)
        assert code == 3, err
        assert "diverged at step" in out and "diverged at step" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.full
@pytest.mark.parametrize(
    "batch", one_of_each(["32", "{use='noise_scale', min=8, max=64, micro=4, decay=0.9}"], rest=pytest.mark.slow)
)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, command, batch):
    file = small_runs.small(tmp_path, steps=400)
    file.write_text(file.read_text().replace("batch = 32", f"batch = {batch}".replace("'", '"')))
    code, _, err = command("train", file, "--out", tmp_path / "whole")
    assert code == 0, err
    killed = small_runs.start("train", file, "--out", tmp_path / "killed")
    small_runs.wait_for(tmp_path / "killed", 20, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "result.json").exists()
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 9999, "loss": 0.0}\n{"step": 10000, "lo')  # logs run ahead of the checkpoint
    code, _, err = command("train", file, "--out", tmp_path / "killed", "--resume")
    assert code == 0, err
    assert not err.startswith("step 20/")
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "whole")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("killed", "whole")]
    assert results[0]["scores"] == results[1]["scores"]


@pytest.mark.full
@pytest.mark.parametrize("number, code", one_of_each([(signal.SIGTERM, 143), (signal.SIGINT, 130)]))
def test_a_signal_saves_and_stops(tmp_path, number, code):
    file = small_runs.small(tmp_path, steps=1_000_000)
    process = small_runs.start("train", file, "--out", tmp_path / "run")
    small_runs.wait_for(tmp_path / "run", 20, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "saved; continue with --resume" in err and "Traceback" not in err
    assert small_runs.saved(tmp_path / "run")[-1] == read(tmp_path / "run" / "metrics.jsonl")[-1]["step"]


def named(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_configuration_begins_with_its_command(path):
    command, duration, score = path.read_text().splitlines()[:3]
    (name,) = [name for name, paths in COMMANDS.items() if path in paths]
    program = "python -m experiments" if name in ("claims", "race") else "optchain"
    argument = "" if name == "race" else f" {path.relative_to(small_runs.ROOT)}"  # of which there is one
    assert command == f"# {program} {name}{argument}"
    assert re.search(r"\d s on (one of )?two cores", duration) and ("accuracy" in score or "loss" in score)


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_every_configuration_builds(path):
    built = build(config.load(path), str(path))
    table = tomllib.loads(path.read_text())["optimizer"]
    while "tx" in table:  # a wrapper outermost
        table = table["tx"]
    links = [table["use"]] if "use" in table else [link for link in table if link != "watch"]
    assert links and all(re.search(rf"^{link}\b|_{link}\b", str(built.tx), re.MULTILINE) for link in links)


@pytest.mark.parametrize("path", STUDIES, ids=named)
def test_every_study_is_valid(path, tmp_path):
    Tuning(config.load(path, table=Study), tmp_path, str(path), "").require_valid()


@pytest.mark.parametrize("path", COMPARISONS, ids=named)
def test_every_comparison_builds(path):
    found = config.load(path, table=comparison.Comparison)
    for name in found.optimizers:
        study = found.study(name)
        for labels in space.samples(study.space):
            oc.from_config(study.config(space.values(labels, study.space)).optimizer, name)


def test_configurations_were_found():
    assert len(CONFIGS) >= 7 and COMPARISONS and os.path.basename(CONFIGS[0].parent) == "circles"
