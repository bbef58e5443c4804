"""Two noisy circles, one within the other: 1,000 points, generated."""

import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import make_circles

from experiments import tables
from experiments.data import Task, split, standardizer


def load(table: tables.Task) -> Task:
    """Points of the plane, standardized, and whether they lie on the inner circle; the splits are stratified."""
    points, inner = map(np.asarray, make_circles(1000, factor=0.3, noise=0.05, random_state=0))
    splits, rows = split(points, inner.astype(np.int32), table, stratify=True)
    prepare = standardizer(splits["train"][0])
    return Task(
        splits={name: (prepare(points), targets) for name, (points, targets) in splits.items()},
        rows=rows,
        outputs=1,
        loss=lambda outputs, targets: optax.losses.sigmoid_binary_cross_entropy(outputs[:, 0], targets),
        metric=lambda outputs, targets: ((outputs[:, 0] > 0) == targets).astype(jnp.float32),
        metric_name="accuracy",
        answer=lambda outputs: {
            "inner": (outputs[:, 0] > 0).astype(int),
            "probability": 1 / (1 + np.exp(-outputs[:, 0])),
        },
        prepare=prepare,
        features=2,
    )
