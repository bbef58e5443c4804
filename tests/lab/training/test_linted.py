"""A run begins with what is probably a mistake in its optimizer, and its report shows it."""

import json

import pytest
import small_runs

from optchain.lab.reports.report import page
from optchain.lab.runs import config
from optchain.lab.runs import run as runs
from optchain.lab.training import linted
from optchain.lab.training.experiment import build

CHAIN = (
    '[optimizer.adam]\nuse = "scale_by_adam"\n\n[optimizer.decay]\nuse = "add_decayed_weights"\nweight_decay = 0.01\n'
)
RATE = '\n[optimizer.lr]\nuse = "scale_by_learning_rate"\nlearning_rate = 0.01\n'


def opened(folder, optimizer):
    """A run that has not begun, and its experiment."""
    text = small_runs.small(folder).read_text()
    path = folder / "own.toml"
    path.write_text(text[: text.index("[optimizer]")] + optimizer)
    resolved = config.load(path)
    return build(resolved, str(path)), runs.create(folder / "run", resolved, "train", overwrite=True)


def test_doubts_are_lines_and_stand_in_the_run(tmp_path):
    experiment, run = opened(tmp_path, CHAIN.replace("[optimizer.decay]", RATE + "\n[optimizer.decay]"))
    (line,) = linted.lint(experiment, run)
    assert line.startswith("error growth at decay: ") and "\n" not in line
    assert [x["check"] for x in json.loads((run.folder / "lint.json").read_text())["findings"]] == ["growth"]
    assert linted.lint(*opened(tmp_path, CHAIN + RATE)) == [] and run.doubts == []


def test_no_run_fails_because_of_an_advice(tmp_path, monkeypatch):
    experiment, run = opened(tmp_path, CHAIN + RATE)

    def fail(*args, **kwargs):
        raise RuntimeError("of any kind")

    monkeypatch.setattr(linted.oc, "lint", fail)
    assert linted.lint(experiment, run) == [] and run.doubts == []


def test_large_models_are_left_out(tmp_path, monkeypatch):
    experiment, run = opened(tmp_path, CHAIN + RATE)
    monkeypatch.setattr(linted, "LARGEST", 10)
    monkeypatch.setattr(linted.oc, "lint", lambda *args, **kwargs: pytest.fail("it is too large"))
    assert linted.lint(experiment, run) == []


@pytest.mark.parametrize("found", [True, False])
def test_the_report_has_a_section_for_them(tmp_path, found):
    trainer = small_runs.train(tmp_path)
    doubt = {
        "check": "growth",
        "severity": "error",
        "where": ["decay", "b", "c", "d"],
        "says": "it grows",
        "cure": "flip",
    }
    trainer.run.write_doubts([doubt] if found else [])
    text = page([trainer.run])
    assert ("Doubts about the optimizer" in text) == found == ("decay, b, c and 1 more" in text)
