"""Ten digits: 1,797 real 8x8 scans that come with scikit-learn."""

import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from experiments import config
from experiments.data import Task, split, standardizer


def load(table: config.Task) -> Task:
    """Scans of shape (8, 8, 1), each pixel standardized, and their digits; the splits are stratified."""
    raw, digits = load_digits(return_X_y=True)
    splits, rows = split(raw, digits.astype(np.int32), table, stratify=True)
    scale = standardizer(splits["train"][0])

    def prepare(scans: np.ndarray) -> np.ndarray:
        return scale(scans).reshape(-1, 8, 8, 1)

    return Task(
        splits={name: (prepare(scans), targets) for name, (scans, targets) in splits.items()},
        rows=rows,
        outputs=10,
        loss=optax.losses.softmax_cross_entropy_with_integer_labels,
        metric=lambda outputs, targets: (outputs.argmax(-1) == targets).astype(jnp.float32),
        metric_name="accuracy",
        answer=_answer,
        prepare=prepare,
        features=64,
    )


def _answer(outputs: np.ndarray) -> dict[str, np.ndarray]:
    likely = np.exp(outputs - outputs.max(-1, keepdims=True))
    return {"digit": outputs.argmax(-1), "probability": likely.max(-1) / likely.sum(-1)}
