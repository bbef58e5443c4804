"""A line through noise: y = 3x + noise, 100 points, generated."""

import jax.numpy as jnp
import numpy as np

from optchain.lab.data.task import Task, split
from optchain.lab.settings import tables


def load(table: tables.Task) -> Task:
    """Points as they are, with the least squares optimum of the training examples as the yardstick."""
    random = np.random.RandomState(1)
    x = random.randn(100, 1)
    y = 3 * x[:, 0] + random.randn(100)
    splits, rows = split(x, y.astype(np.float32), table, stratify=False)
    inputs, targets = splits["train"][0].astype(np.float32), splits["train"][1]
    design = np.hstack([inputs, np.ones_like(inputs)])
    fitted = design @ np.linalg.lstsq(design, targets)[0]
    return Task(
        splits=splits,
        rows=rows,
        outputs=1,
        loss=lambda outputs, targets: (outputs[:, 0] - targets) ** 2,
        metric=lambda outputs, targets: jnp.abs(outputs[:, 0] - targets),
        metric_name="absolute_error",
        metric_sign=1,
        answer=lambda outputs: {"y": outputs[:, 0]},
        shape=(1,),
        steps={},
        optimum=float(np.mean((fitted - targets) ** 2)),
    )
