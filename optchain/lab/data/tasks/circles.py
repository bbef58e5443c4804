"""Two noisy circles, one within the other: 1,000 points, generated."""

import numpy as np
from sklearn.datasets import make_circles

from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.task import Task, split
from optchain.lab.data.tasks.classification import of_two
from optchain.lab.settings import tables


def load(table: tables.Task) -> Task:
    """Points of the plane, and whether they lie on the inner circle; the splits are stratified."""
    points, inner = map(np.asarray, make_circles(1000, factor=0.3, noise=0.05, random_state=0))
    splits, rows = split(points, inner.astype(np.int32), table, stratify=True)
    steps = {"standardize": Standardize(use="standardize")}
    return Task(splits, rows, shape=(2,), steps=steps, **of_two("inner"))
