"""What is said about learning rates that are most likely a mistake."""

import pytest
import small_runs

from optchain.lab.runs import config
from optchain.lab.runs.config import chain_of
from optchain.lab.training.rates import doubts
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.validity import require_buildable

PLAIN = "optimizer={lr={use='scale_by_learning_rate', learning_rate=%s}}"


@pytest.mark.parametrize(
    "sets, said",
    [
        ([], []),
        (["optimizer.lr.start=-1e-2"], ["optimizer.lr.learning_rate is -0.01 at step 1; such a step raises the loss"]),
        (["optimizer.lr.start=0.0"], ["optimizer.lr.learning_rate is 0 at every step; nothing is learned by it"]),
        ([PLAIN % "0.0"], ["optimizer.lr.learning_rate is 0 at every step; nothing is learned by it"]),
        ([PLAIN % "{use='linear', start=0.0, end=0.1, steps=10}"], []),
        ([PLAIN % "{use='linear', start=0.1, end=0.0, steps=10}"], []),
        (
            [PLAIN % "{use='linear', start=0.1, end=-0.1, steps=60}"],
            ["optimizer.lr.learning_rate is -0.003333 at step 32; such a step raises the loss"],
        ),
        (
            [PLAIN.replace("}}", ", flip_sign=false}}") % "{use='linear', start=-0.1, end=-0.2, steps=10}"],
            [],
        ),
        (
            ["optimizer={sgd={use='optax.sgd', learning_rate={use='constant', value=-0.1}}}"],
            ["optimizer.sgd.learning_rate is -0.1 at step 1; such a step raises the loss"],
        ),
    ],
)
def test_rates_that_ascend_or_are_nothing_are_named(tmp_path, sets, said):
    resolved = config.load(small_runs.small(tmp_path), sets)
    assert doubts(resolved, chain_of(resolved)) == said


def test_runs_and_studies_say_so_once_and_go_on(tmp_path, capsys):
    line = "optimizer.lr.learning_rate is -0.01 at step 1; such a step raises the loss"
    small_runs.train(tmp_path, "train.steps=20", "optimizer.lr.start=-1e-2")
    assert capsys.readouterr().err.count(line) == 1
    sets = ["optimizer.lr.start=-1e-2", "search.trials=1", "space.'model.dropout'={use='float', low=0.0, high=0.1}"]
    require_buildable(config.load(small_runs.small(tmp_path), sets, Study), "small.toml")
    assert capsys.readouterr().err.splitlines().count(f"small.toml: {line}") == 1
