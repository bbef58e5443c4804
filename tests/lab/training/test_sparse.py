"""Runs that hold weights at 0: their logs, their reports and their checkpoints."""

from pathlib import Path

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small_runs
from tiers import one_of_each

import optchain as oc
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports.report import write
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer
from optchain.lab.tuning import space

OPTIMIZER = (
    "optimizer={use='sparse', sparsity=0.75, score='random', schedule={use='regrow', every=7},"
    " tx={adam={use='scale_by_adam'}, lr={use='scale', step_size=-0.01}}}"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("sparse"), OPTIMIZER)


def test_the_logs_tell_the_sparsity_and_the_report_lists_it(trained):
    rows = [row["optimizer"] for row in read(trained.logs.jsonl) if "optimizer" in row]
    # Of 20 weights 5 are kept, of the 10 into the last layer 2.
    np.testing.assert_allclose([row["sparse.sparsity"] for row in rows], 23 / 30, rtol=1e-6)
    assert any(row["sparse.changed"] for row in rows)
    kernels = {leaf["path"]: leaf["sparsity"] for leaf in trained.run.result["sparsity"] if "kernel" in leaf["path"]}
    assert len(kernels) == 2 and min(kernels.values()) >= 0.75  # a grown weight may not have moved from 0 yet
    page = trained.run.folder / "report.html"
    write([trained.run], page)
    assert "<h2>Sparsity</h2>" in page.read_text() and f">{max(kernels.values()):.4f}</td>" in page.read_text()


def test_its_checkpoint_holds_masks_as_bits(trained):
    manager = ocp.CheckpointManager((trained.run.folder / "checkpoints").absolute())
    args = ocp.args.Composite(state=ocp.args.StandardRestore())
    saved = manager.restore(manager.latest_step(), args=args)["state"]["carry"]["opt_state"]["sparse"]["masks"]
    masks = trained.carry["opt_state"]["sparse"]["masks"]
    for bits, mask in zip(jax.tree.leaves(saved), jax.tree.leaves(masks), strict=True):
        np.testing.assert_array_equal(bits, np.packbits(mask))
    manager.close()


@pytest.mark.full
def test_it_goes_on_to_the_bit(trained, tmp_path):
    """Stopped in the middle between two changes of the masks, and on from the checkpoint."""
    small_runs.train(tmp_path, OPTIMIZER, "train.steps=40")
    resolved = config.load(small_runs.small(tmp_path), [OPTIMIZER])
    again = Trainer(build(resolved, "small.toml"), run.reopen(tmp_path / "run", resolved))
    assert again.progress["step"] == 40 and again.train() is None
    ours, whole = (oc.without_metrics(trainer.carry["opt_state"]) for trainer in (again, trained))
    chex.assert_trees_all_equal((again.carry["params"], ours), (trained.carry["params"], whole))


@pytest.mark.parametrize("task", one_of_each(["digits", "text"]))
def test_the_comparisons_build(task):
    path = Path(__file__).parents[3] / f"configs/{task}/sparse.toml"
    comparison = config.load(path, table=Comparison)
    assert len(comparison.optimizers) == 13
    for name in ("dense", "gmp_95", "rigl_80"):
        study = comparison.study(name)
        labels = next(space.samples(study.space))
        build(study.config(space.values(labels, study.space)), str(path))
