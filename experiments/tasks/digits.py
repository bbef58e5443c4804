"""Ten digits: 1,797 real 8x8 scans that come with scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from experiments import tables
from experiments.data import Task, split, standardizer


def load(table: tables.Task) -> Task:
    """Scans of shape (8, 8, 1), standardized, and their digits; the splits are stratified.

    All pixels have one mean and one standard deviation: those at the border are almost always empty, and scaled each by
    its own deviation the few that are not would outweigh all others.
    """
    raw, digits = load_digits(return_X_y=True)
    splits, rows = split(raw, digits.astype(np.int32), table, stratify=True)
    scale = standardizer(splits["train"][0].reshape(-1, 1))

    def prepare(scans: np.ndarray) -> np.ndarray:
        return scale(scans.reshape(-1, 1)).reshape(-1, 8, 8, 1)

    return Task(
        splits={name: (prepare(scans), targets) for name, (scans, targets) in splits.items()},
        rows=rows,
        outputs=10,
        # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
        loss=lambda outputs, targets: optax.losses.softmax_cross_entropy(outputs, jax.nn.one_hot(targets, 10)),
        metric=lambda outputs, targets: (outputs.argmax(-1) == targets).astype(jnp.float32),
        metric_name="accuracy",
        answer=_answer,
        prepare=prepare,
        features=64,
    )


def _answer(outputs: np.ndarray) -> dict[str, np.ndarray]:
    likely = np.exp(outputs - outputs.max(-1, keepdims=True))
    return {"digit": outputs.argmax(-1), "probability": likely.max(-1) / likely.sum(-1)}
