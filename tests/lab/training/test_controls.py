"""How a run is controlled: by the loss, which the optimizer is told, and by hand."""

import json

import chex
import numpy as np
import pytest
import small_runs

from optchain.lab.base import processes
from optchain.lab.base.errors import InputError
from optchain.lab.reports.report import write
from optchain.lab.reports.scores import summary
from optchain.lab.runs import config, run
from optchain.lab.runs.control import Orders, parse
from optchain.lab.runs.logs import read
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.progress import Quiet
from optchain.lab.training.train import Trainer


def train(tmp_path, optimizer, *sets):
    path = small_runs.small(tmp_path)
    table = path.read_text().split("[optimizer]")[0]
    path.write_text(f"{table}\n[optimizer]\n{optimizer}")
    resolved = config.load(path, list(sets))
    built, opened = build(resolved, "small.toml"), run.create(tmp_path / "run", resolved, "the command", False)
    trainer = Trainer(built, opened, program=small_runs.shared_program(built))
    assert trainer.train() is None
    return trainer, read(trainer.logs.jsonl)


@pytest.mark.full
def test_a_plateau_hears_each_validation_loss_once(tmp_path):
    adam = '[optimizer.adam]\nuse = "adam"\nlearning_rate = 1e-12\n'
    plateau = '[optimizer.plateau]\nuse = "scale_on_plateau"\nfactor = 0.5\npatience = 0\n'
    _, rows = train(tmp_path, adam + plateau, "train.steps=100", "train.log_every=1", "model.norm=none")
    factors = [row["optimizer"]["plateau.factor"] for row in rows if "optimizer" in row]
    # Nothing is learned. The first validation loss, after step 20, is heard at step 21; the others fail to fall.
    assert factors[19:21] == [1, 1] and factors[39:41] == [1, 0.5] and factors[59:61] == [0.5, 0.25]
    assert factors[-1] == 0.125


def test_a_bold_driver_raises_and_lowers_the_rate(tmp_path):
    adam = '[optimizer.adam]\nuse = "adam"\nlearning_rate = 1e-3\n'
    bold = (
        '[optimizer.bold]\nuse = "scale_on_plateau"\nfactor = 0.5\npatience = 0\n'
        'tolerance = 0.0\nraise_by = 1.05\nagainst = "last"\n'
    )
    _, rows = train(tmp_path, adam + bold, "train.steps=120", "train.log_every=1", 'model.norm="none"')
    factors = [row["optimizer"]["bold.factor"] for row in rows if "optimizer" in row]
    losses = [row["evaluation"]["validation_loss"] for row in rows if "evaluation" in row]
    assert factors[20] == 1 and losses[0] > losses[1]
    wanted = 1.0
    for before, after, factor in zip(losses, losses[1:], factors[40::20], strict=False):
        wanted *= 1.05 if after < before else 0.5
        assert factor == pytest.approx(wanted, rel=1e-6)


GUARDED = """
[optimizer.guard]
use = "guard"
patience = 5

[optimizer.guard.tx.adam]
use = "scale_by_adam"

[optimizer.guard.tx.lr]
use = "piecewise"
values = [1e-2, {rate}]
boundaries = [50]
"""


@pytest.mark.full
def test_a_run_ends_when_its_guard_has_had_enough(tmp_path, capsys):
    trainer, rows = train(tmp_path, GUARDED.format(rate="1e38"), "train.log_every=1")
    assert trainer.run.result["ending"] == "diverged"
    rejected = [row["optimizer"]["guard.guard.rejected"] for row in rows if "optimizer" in row]
    # It bears four rejections in a row, whose losses are logged as null, and is exhausted at the fifth.
    assert rejected[49] == 0 and rejected[-1] == 4
    assert "is not finite at step" in capsys.readouterr().err


def test_a_guard_that_never_rejects_changes_nothing(tmp_path):
    trainer, rows = train(tmp_path, GUARDED.format(rate="1e-3"))
    assert trainer.run.result["ending"] == "finished"
    assert rows[-1]["evaluation"]["guard.lr.learning_rate"] == pytest.approx(1e-3)


@pytest.mark.full
def test_the_average_of_a_schedule_free_run_is_what_counts(tmp_path):
    """It is found from the parameters and the state together."""
    trainer, _ = train(tmp_path, 'use = "schedule_free_adamw"\nlearning_rate = 0.1\n', "model.norm=none")
    scores = trainer.run.result["scores"]["validation"]
    assert set(scores) == {"parameters", "average"} and scores["average"]["accuracy"] > 0.9
    assert restore(trainer.run).scores()["validation"] == scores


class Hand(Quiet):
    """At some evaluations writes the file that controls the run, or ends the process as a kill would."""

    def __init__(self, folder, writes, kill_at=None):
        self.file, self.writes, self.kill_at, self.said = folder / "control.toml", writes, kill_at, []

    def show(self, row):
        if row["step"] in self.writes:
            self.file.write_text(self.writes[row["step"]])
        if row["step"] == self.kill_at:
            raise Killed

    def say(self, text):
        self.said.append(text)


class Killed(BaseException):
    pass


def by_hand(parent, writes, *sets, kill_at=None, folder="run", resume=False, compiled_anew=False):
    """A small run that is controlled by hand at some steps."""
    resolved = config.load(small_runs.small(parent, steps=120), ["train.log_every=1", *sets])
    out = parent / folder
    opened = run.reopen(out, resolved) if resume else run.create(out, resolved, "the command", overwrite=False)
    built = build(resolved, "small.toml")
    program = None if compiled_anew else small_runs.shared_program(built)
    trainer = Trainer(built, opened, program=program, display=Hand(out, writes, kill_at))
    try:
        trainer.train()
    except Killed:
        trainer.checkpoints.close()
    return trainer


def rates(trainer):
    return {x["step"]: x["optimizer"]["lr.learning_rate"] for x in read(trainer.logs.jsonl) if "optimizer" in x}


def losses(trainer):
    return [row["loss"] for row in read(trainer.logs.jsonl) if "loss" in row]


@pytest.mark.full
def test_numbers_are_changed_by_hand_and_given_back(tmp_path):
    writes = {
        20: '"lr.learning_rate" = 1e-4',
        40: "lr.learning_rate = 2e-4\nadam.b1 = 0.5",
        60: "adam.b1 = 0.5",
        80: "",
    }
    trainer = by_hand(tmp_path, writes, compiled_anew=True)
    found = rates(trainer)
    assert found[20] == pytest.approx(0.005 * (1 + np.cos(np.pi * 19 / 300)), rel=1e-5)
    assert [found[step] for step in (21, 40)] == [pytest.approx(1e-4)] * 2
    assert [found[step] for step in (41, 60)] == [pytest.approx(2e-4)] * 2
    assert found[61] == pytest.approx(0.005 * (1 + np.cos(np.pi * 60 / 300)), rel=1e-5)
    changes = [(row["step"], row["control"]) for row in read(trainer.logs.jsonl) if "control" in row]
    both = {"lr.learning_rate": 2e-4, "adam.b1": 0.5}
    assert changes == [(20, {"lr.learning_rate": 1e-4}), (40, both), (60, {"adam.b1": 0.5}), (80, {})]
    # Each set of names is compiled once, and the configuration's own numbers as if none were ever changed.
    assert len(trainer.program._compiled) == 4
    plain = by_hand(tmp_path, {}, folder="plain")
    assert losses(trainer)[:20] == losses(plain)[:20]
    write([trainer.run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Changes by hand" in page and "lr.learning_rate = 0.0002" in page and "as configured" in page


@pytest.mark.full
def test_other_values_of_a_name_are_no_new_compilation(tmp_path):
    trainer = by_hand(tmp_path, {20 * i: f"lr.learning_rate = {i}e-4" for i in range(1, 6)}, compiled_anew=True)
    assert rates(trainer)[120] == pytest.approx(5e-4) and len(trainer.program._compiled) == 2


def test_a_bad_file_does_not_stop_the_run(tmp_path):
    trainer = by_hand(tmp_path, {20: "lr.learning_rate = 1e-4", 40: "adam.b1 = 1.5"})
    said = [line for line in trainer.display.said if "goes on as before" in line]  # once, at four more evaluations
    assert len(said) == 1 and str(trainer.control.path) in said[0] and "b1 must lie in [0, 1)" in said[0]
    assert trainer.run.result["ending"] == "finished" and rates(trainer)[120] == pytest.approx(1e-4)
    for text, message in [
        ("lr.learning_rate = ", "control.toml: no TOML: Invalid value"),
        ("lr.learning_rat = 1.0", "did you mean 'lr.learning_rate'?"),
        ("adam.b1 = 'much'", "adam.b1: got 'much'; expected a number"),
        ("lr.learning_rate = nan", "learning_rate must lie in (-inf, inf)"),
        ("stop = 1", "stop: got 1; expected true or false"),
    ]:
        trainer.control.path.write_text(text)
        assert trainer.control.read() is None and message in trainer.display.said[-1], trainer.display.said[-1]
    # What cannot be read is said once, too.
    for spoil, message in (
        (lambda path: path.write_bytes(b"\xff\xfe"), "can't decode"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    ):
        spoil(trainer.control.path)
        before = len(trainer.display.said)
        assert [trainer.control.read() for _ in range(3)] == [None] * 3
        assert len(trainer.display.said) == before + 1 and message in trainer.display.said[-1]


@pytest.mark.full
def test_a_killed_run_goes_on_with_the_numbers_that_were_changed(tmp_path):
    """With batches that follow the noise, and checkpoints that are farther apart than the changes."""
    sets = ("train.batch={use='noise_scale', min=8, max=64, micro=4, decay=0.9}", "train.checkpoint_every=60")
    writes = {20: "lr.learning_rate = 1e-4", 80: "adam.b1 = 0.5"}
    whole = by_hand(tmp_path, writes, *sets, folder="whole")
    killed = by_hand(tmp_path, writes, *sets, kill_at=40)
    assert killed.run.result is None
    again = by_hand(tmp_path, writes, *sets, resume=True, kill_at=100)
    assert losses(again)[:20] == losses(whole)[:20] and rates(again)[21] == pytest.approx(1e-4)
    last = by_hand(tmp_path, {}, *sets, resume=True)
    assert last.run.result["ending"] == "finished" and losses(last) == losses(whole)
    sizes, control = (
        [[row[name] for row in read(x.logs.jsonl) if name in row] for x in (last, whole)]
        for name in ("batch", "control")
    )
    assert sizes[0] == sizes[1] and len(set(sizes[0])) > 1 and control[0] == control[1] and len(control[0]) == 2
    chex.assert_trees_all_equal(last.carry["params"], whole.carry["params"])


def test_a_run_is_stopped_by_hand_and_goes_on(tmp_path):
    trainer = by_hand(tmp_path, {40: "stop = true"})
    assert trainer.run.result["ending"] == "stopped by hand" and trainer.run.result["step"] == 40
    still = by_hand(tmp_path, {}, resume=True)
    assert still.run.result["step"] == 40
    (tmp_path / "run" / "control.toml").unlink()
    again = by_hand(tmp_path, {}, resume=True)
    assert again.run.result["ending"] == "finished"
    assert losses(again) == losses(by_hand(tmp_path, {}, folder="whole"))


def test_orders_are_dotted_either_way():
    assert parse('"a.b" = 1\n[c]\nd = 2.5\n') == Orders({"a.b": 1.0, "c.d": 2.5}, stop=False)
    assert parse("") == Orders({}) and parse("stop = true") == Orders({}, stop=True)


@pytest.mark.full
def test_patience_wants_a_margin_and_the_best_does_not(tmp_path):
    sets = ("train.steps=2000", "train.early_stopping={patience=3, min_delta=0.5}")
    trainer = small_runs.train(tmp_path, *sets)
    result, rows = trainer.run.result, [x["evaluation"] for x in read(trainer.logs.jsonl) if "evaluation" in x]
    found = {row["step"]: row["validation_average_loss"] for row in rows}
    # The loss begins near log 2, below which no margin of 0.5 is left at first: it stops though it still falls.
    assert result["ending"] == "stopped early" and result["step"] == 80
    assert result["scored_step"] == min(found, key=lambda step: found[step]) > 20
    last = small_runs.train(tmp_path, *sets, "train.early_stopping.restore_best=false", folder="last")
    assert last.run.result["scored_step"] == last.run.result["step"] == 80
    chex.assert_trees_all_equal(restore(last.run).models["parameters"]["params"], last.carry["params"])


def test_a_loss_far_above_the_first_is_a_divergence(tmp_path, capsys):
    sets = ("optimizer.lr={use='scale', step_size=0.3}", "train.diverged_above=2.0", "train.steps=400")
    trainer = small_runs.train(tmp_path, *sets)
    assert trainer.run.result["ending"] == "diverged"
    said = capsys.readouterr().err
    assert "the loss of the last 20 batches is" in said and f"at step {trainer.run.result['step']}" in said
    found = losses(trainer)
    chunks = [np.mean(found[i : i + 20]) for i in range(0, len(found), 20)]
    assert chunks[-1] > 2 * found[0] and all(mean <= 2 * found[0] for mean in chunks[:-1])


@pytest.mark.full
def test_snapshots_are_kept_scored_and_averaged(tmp_path):
    sets = ("train.snapshots=[40, 80, 120]", "train.checkpoint_every=60")
    by_hand(tmp_path, {}, *sets, kill_at=100)
    trainer = by_hand(tmp_path, {}, *sets, resume=True)
    result = trainer.run.result
    assert [kept["step"] for kept in result["snapshots"]] == [40, 80, 120]
    assert result["snapshots"][-1]["scores"]["validation"] == result["scores"]["validation"]
    built, (inputs, targets, _) = trainer.experiment, trainer.experiment.task.splits["test"]
    like = restore(trainer.run).models
    each = [trainer.snapshots.restore(step, like)["parameters"] for step in (40, 80, 120)]
    outputs = [np.asarray(built.model.apply(one["params"], one["rest"], inputs)[0], np.float64)[:, 0] for one in each]
    likely = np.mean([1 / (1 + np.exp(-logits)) for logits in outputs], axis=0)
    together = result["ensemble"]["test"]["parameters"]
    assert together["loss"] == pytest.approx(-np.log(np.where(targets, likely, 1 - likely)).mean(), rel=1e-5)
    assert together["accuracy"] == pytest.approx(((likely > 0.5) == targets).mean(), rel=1e-5)
    whole = by_hand(tmp_path, {}, *sets, folder="whole")
    assert json.dumps(whole.run.result["snapshots"]) == json.dumps(result["snapshots"])
    assert "3 snapshots together:" in summary(trainer.run)
    write([trainer.run], tmp_path / "report.html")
    assert "all, together" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.snapshots=[30]", "snapshots.0 = 30; expected multiples of evaluate_every = 20 up to steps = 60"),
        ("train.early_stopping.patince=3", "train.early_stopping.patince: unknown key; did you mean 'patience'?"),
        ("train.early_stopping={min_delta=0.1}", "train.early_stopping.patience: missing"),
        ("train.diverged_above=0.5", "train.diverged_above: got 0.5; input should be greater than 1"),
    ],
)
def test_errors_of_controls_name_the_place(tmp_path, override, message):
    with pytest.raises(InputError) as error:
        config.load(small_runs.small(tmp_path), [override])
    assert message in str(error.value)


def test_processes_agree_on_signals_once_an_evaluation(tmp_path, monkeypatch):
    """Each time costs them a message to all, and they wait for the slowest."""
    asked, any_of = [], processes.any_of
    monkeypatch.setattr(processes, "any_of", lambda number: asked.append(number) or any_of(number))
    trainer = small_runs.train(tmp_path)
    evaluations = trainer.table.steps // trainer.table.evaluate_every
    assert len(asked) == evaluations + 2  # before the first step, and at the end
