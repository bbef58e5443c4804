"""What a run that diverged says about where."""

import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.lab.reports.scores import summary
from optchain.lab.training.divergence import not_finite

SETS = ("model.norm='none'", "model.dropout=0.0")


@pytest.mark.parametrize(
    "batch", ["train.batch=32", "train.batch={use='fixed', size=32, micro=16, scale_rate='linear', base=32}"]
)
@pytest.mark.full
def test_the_parameters_that_overflowed_are_named(tmp_path, capsys, batch):
    """The rate becomes infinite at step 30, between two evaluations."""
    rate = "{use='piecewise', values=[0.01, 1e38], boundaries=[29]}"
    sets = (*SETS, batch, f"optimizer.lr={rate}", "optimizer.blow={use='scale', step_size=1e3}")
    trainer = small_runs.train(tmp_path, *sets)
    result = trainer.run.result
    assert result["ending"] == "diverged" and 29 < result["step"] < 40
    assert result["cause"].startswith("the parameters of 'Dense_0/")
    assert result["cause"].endswith(f"were not finite at step {result['step']}")
    assert result["cause"].removeprefix("t") in capsys.readouterr().err and result["cause"] in summary(trainer.run)[0]


def test_the_gradients_that_overflowed_are_named_in_the_first_steps_too(tmp_path):
    (tmp_path / "own.py").write_text(
        "import jax.numpy as jnp\n"
        "def loss(outputs, targets):\n"
        "    return jnp.sqrt(jnp.square(outputs[:, 0] * 0)) + 0.0 * targets\n"
    )
    trainer = small_runs.train(tmp_path, *SETS, f"loss.use='{tmp_path / 'own.py'}:loss'", "metrics={}")
    assert trainer.run.result["ending"] == "diverged" and trainer.run.result["step"] == 2
    assert trainer.run.result["cause"].startswith("the gradients of 'Dense_0/")
    assert trainer.run.result["cause"].endswith("were not finite at step 1")


def test_paths_are_listed_and_then_counted():
    tree = {
        name: jnp.asarray([0.0, bad]) for name, bad in zip("abcde", [np.inf, 1, np.nan, np.nan, -np.inf], strict=True)
    }
    assert not_finite(tree) == "'a', 'c', 'd' and 1 more" and not_finite({"a": tree["b"]}) == ""
