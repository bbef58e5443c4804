"""Regularizers that are links of the optimizer's chain or terms of the loss, in whole runs."""

import jax
import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.comparison.tables import Comparison
from optchain.lab.runs import config
from optchain.lab.runs import config as tables
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.experiment import build


def trained(path, *sets, steps=40):
    built = build(config.load(path, list(sets)), "small.toml")
    train = built.config.train
    chunk = make_chunk(built.task, built.parts)
    data = jax.device_put(built.task.splits["train"])
    return built, chunk(built.start(), data, Setting(train.seed), steps=steps)


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """The carry and the logs of a run without."""
    return trained(small_runs.small(tmp_path_factory.mktemp("free")))[1]


def test_a_max_norm_is_a_link_of_the_chain(tmp_path, free):
    link = "optimizer.bound={use='keep_params_max_norm', max_norm=0.5, mask='*/kernel'}"
    _, (carry, _) = trained(small_runs.small(tmp_path), link)
    norms = [np.linalg.norm(carry["params"][name]["kernel"], axis=0) for name in ("Dense_0", "Dense_1")]
    assert max(norm.max() for norm in norms) <= 0.5 + 1e-5
    assert np.linalg.norm(free[0]["params"]["Dense_0"]["kernel"], axis=0).max() > 0.6


@pytest.mark.full
def test_an_l1_penalty_shrinks_kernels(tmp_path, free):
    _, (carry, logs) = trained(small_runs.small(tmp_path), "loss.l1=0.1")
    sums = [np.abs(x["params"]["Dense_0"]["kernel"]).sum() for x in (free[0], carry)]
    assert sums[1] < 0.9 * sums[0]


def test_a_penalty_is_not_for_a_table_whose_rows_are_updated_where_looked_up():
    path = small_runs.ROOT / "configs" / "embedding" / "adam.toml"
    sets = ["task={use='experiments.tasks.embedding:Clicks', examples=400, ids=50}", "loss.l2=0.1"]
    _, (_, logs) = trained(path, *sets, "train={steps=2, batch=4}", steps=2)  # of kernels it may be
    assert np.isfinite(logs["loss"]).all()
    with pytest.raises(InputError, match="loss.penalized: the optimizer updates rows of 'embed/embedding'; expected"):
        build(config.load(path, [*sets, "loss.penalized='*embedding'"]), "embedding")


@pytest.mark.full
def test_balanced_batches_are_other_batches(tmp_path, free):
    _, (_, logs) = trained(small_runs.small(tmp_path), "train.sampling=balanced")
    assert np.isfinite(logs["loss"]).all() and not np.array_equal(logs["loss"], free[1]["loss"])


@pytest.mark.parametrize(
    "keys",
    [
        {"loss": {"label_smoothing": 0.1}},
        {"augment": {"noise": 0.1}},
        {"preprocess": {"scale": {"use": "min_max"}}},
        {"start": {"run": "runs/other"}},
    ],
)
def test_a_comparison_hands_them_to_its_runs(keys):
    link = {"use": "sgd", "learning_rate": 0.0}
    contender = {"space": {"learning_rate": {"use": "choice", "values": [0.1]}}, "chain": link}
    comparison = Comparison.model_validate(
        {
            "task": {"use": "experiments.tasks.circles:circles", "validation": 100},
            "model": {"hidden": [4]},
            "train": {"steps": 10, "batch": 8},
            "search": {"sampler": "grid"},
            "optimizers": {"a": contender, "b": contender},
        }
        | keys
    )
    run = comparison.study("a").config({"learning_rate": 0.1}, train={"seed": 3})
    (name,) = keys
    assert getattr(run, name) == getattr(comparison, name) != tables.Config.model_fields[name].default
    assert run.train.seed == 3 and run.optimizer["learning_rate"] == 0.1
