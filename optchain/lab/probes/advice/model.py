"""What the inputs say of the model, where the file names none."""

import math
from collections.abc import Iterator

import numpy as np

from optchain.lab.data.task import Task
from optchain.lab.probes.advice.advice import Advice

NARROWEST, WIDEST = 16, 256  # dense layers
CHANNELS = [16, 32]  # of convolutions, each of which halves an image


def of_model(task: Task) -> Iterator[Advice]:
    """The kind of the built-in model that takes such inputs, and its size; nothing where none does."""
    inputs = task.splits["train"].inputs
    if not isinstance(inputs, np.ndarray):
        return
    shape = inputs.shape[1:]
    if np.issubdtype(inputs.dtype, np.integer):
        if task.ids and len(shape) == 1 and task.outputs == 1:
            yield Advice("model.use", "embedding", f"the inputs are {shape[0]} of {task.ids:,} ids")
        else:
            yield Advice("model.use", "transformer", "the inputs are whole numbers, one after the other")
        return
    yield Advice("model.use", "network", f"the inputs are real numbers of shape {shape}")
    if len(shape) == 3:
        halved = CHANNELS[: max(int(math.log2(min(shape[:2]))) - 1, 0)]
        if halved:
            yield Advice(
                "model.channels", halved, f"convolutions that leave {shape[0] >> len(halved)} rows of the image"
            )
    width = min(max(2 ** round(math.log2(task.size) / 2), NARROWEST), WIDEST)
    why = f"the power of two next to the root of {task.size:,} training examples, {NARROWEST} to {WIDEST}"
    yield Advice("model.hidden", [width] if len(shape) == 3 else [width, width], why)
