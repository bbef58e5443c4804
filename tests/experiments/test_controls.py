"""What the trainer tells the optimizer: the loss of the batch, and each validation loss once."""

import pytest
import small_runs

from experiments import config, run
from experiments.evaluate import restore
from experiments.experiment import build
from experiments.logs import read
from experiments.train import Trainer


def train(tmp_path, optimizer, *sets):
    path = small_runs.small(tmp_path)
    table = path.read_text().split("[optimizer]")[0]
    path.write_text(f"{table}\n[optimizer]\n{optimizer}")
    resolved = config.load(path, list(sets))
    trainer = Trainer(build(resolved, "small.toml"), run.create(tmp_path / "run", resolved, "the command", False))
    assert trainer.train() is None
    return trainer, read(trainer.logs.jsonl)


def test_a_plateau_hears_each_validation_loss_once(tmp_path):
    adam = '[optimizer.adam]\nuse = "adam"\nlearning_rate = 1e-12\n'
    plateau = '[optimizer.plateau]\nuse = "scale_on_plateau"\nfactor = 0.5\npatience = 0\n'
    _, rows = train(tmp_path, adam + plateau, "train.steps=100", "train.log_every=1", "model.norm=none")
    factors = [row["optimizer"]["plateau.factor"] for row in rows if "optimizer" in row]
    # Nothing is learned. The first validation loss, after step 20, is heard at step 21; the others fail to fall.
    assert factors[19:21] == [1, 1] and factors[39:41] == [1, 0.5] and factors[59:61] == [0.5, 0.25]
    assert factors[-1] == 0.125


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


def test_the_average_of_a_schedule_free_run_is_what_counts(tmp_path):
    """It is found from the parameters and the state together."""
    trainer, _ = train(tmp_path, 'use = "schedule_free_adamw"\nlearning_rate = 0.1\n', "model.norm=none")
    scores = trainer.run.result["scores"]["validation"]
    assert set(scores) == {"parameters", "average"} and scores["average"]["accuracy"] > 0.9
    assert restore(trainer.run).scores()["validation"] == scores
