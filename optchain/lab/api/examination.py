"""`examine` on runs."""

from typing import Any

from optchain.lab.api.inputs import raw_inputs
from optchain.lab.api.results import Run
from optchain.lab.probes.examination import examine as examining
from optchain.lab.probes.examination.examine import Examination


def examine(run: Run, *, other: Any = None, examples: int = 500, seed: int = 0) -> Examination:
    """Examine a trained model of classes: `optchain examine` from Python.

    Args:
        run: whose model is examined, on its test examples.
        other: raw inputs of another kind, which the model should not be sure of: as the task has them, or a file as
            `predict` reads it.
        examples: of the split, the first ones.
        seed: of what is drawn.

    Returns:
        What came of it; `scores` holds the numbers.

    Raises:
        InputError: the task is not one of classes, or the other inputs do not fit it.
    """
    if other is not None:
        other = run.trained.prepared(raw_inputs(run.task, other, "examine"), "examine")
    return examining.examine(run.trained, other, examples, seed)
