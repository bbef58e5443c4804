"""What an evaluation's loss means for a run: whether it is the best so far, and how long none was better."""

from typing import Any

from optchain.lab.settings.train import EarlyStopping


def is_best(progress: dict[str, Any], loss: float, stopping: EarlyStopping | None) -> bool:
    """Whether a loss is the best so far. Notes it in the progress, and in `stale` the evaluations without a better one.

    Args:
        progress: of the run, at the step of the evaluation.
        loss: that was measured.
        stopping: says by how much a loss must be lower to count as better; by whatever margin if None.
    """
    # The best model is the best by whatever margin; patience wants a loss that is lower by what counts.
    if loss < progress["stale_loss"] - (stopping.min_delta if stopping else 0.0):
        progress |= {"stale_loss": loss, "stale": 0}
    else:
        progress["stale"] += 1
    if loss >= progress["best_loss"]:
        return False
    progress |= {"best_loss": loss, "best_step": progress["step"]}
    return True
