"""Ten digits: 1,797 real 8x8 scans that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits

from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.task import Task, split
from optchain.lab.data.tasks.classification import of_many
from optchain.lab.settings import tables


def load(table: tables.Task) -> Task:
    """Scans of shape (8, 8, 1) and their digits; the splits are stratified."""
    raw, digits = load_digits(return_X_y=True)
    splits, rows = split(raw.reshape(-1, 8, 8, 1), digits.astype(np.int32), table, stratify=True)
    steps = {"standardize": Standardize(use="standardize", per="all")}
    return Task(splits, rows, shape=(8, 8, 1), steps=steps, **of_many("digit", list(range(10))))
