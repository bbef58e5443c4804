"""What a run ends with: how, at which step, and the scores of the models that count."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from optchain.lab.training import privacy, seconds
from optchain.lab.training.evaluate import choose
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.program import Program
from optchain.lab.training.rows import is_sparse, sparsity
from optchain.lab.training.snapshots import Snapshots


class Ending(NamedTuple):
    """How a run ended, in words; the splits on which it is scored; and the snapshots that it keeps, if any."""

    how: str
    splits: Sequence[str]
    snapshots: Snapshots | None


def result_of(
    experiment: Experiment, program: Program, carry: Any, best: Any, progress: dict[str, Any], end: Ending
) -> dict[str, Any]:
    """The contents of `result.json`.

    Args:
        experiment: of the run, as it is at the end.
        program: that is compiled for it.
        carry: of the run.
        best: its best models.
        progress: of the run.
        end: how it ended, and what is scored.
    """
    with seconds.spent(progress, "evaluating"):
        trained = choose(experiment, carry, best, progress)
        scores = trained.scores(end.splits, program.evaluate)
    kept = end.snapshots if end.snapshots and end.snapshots.steps else None
    return {
        "ending": end.how,
        "step": progress["step"],
        "scored_step": trained.step,
        "scores": scores,
        "seconds": seconds.of(progress),
        **privacy.spent(experiment, carry["rest"], progress["step"]),
        **({"sparsity": sparsity(trained)} if is_sparse(carry) else {}),
        **(kept.scored(experiment, carry, program.evaluate, end.splits) if kept else {}),
    }
