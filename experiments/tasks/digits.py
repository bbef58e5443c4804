"""Ten digits: 1,797 real 8x8 scans that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits

from experiments import tables
from experiments.data import Task, split
from experiments.preprocess.scaling import Standardize
from experiments.tasks.classification import of_many


def load(table: tables.Task) -> Task:
    """Scans of shape (8, 8, 1) and their digits; the splits are stratified."""
    raw, digits = load_digits(return_X_y=True)
    splits, rows = split(raw.reshape(-1, 8, 8, 1), digits.astype(np.int32), table, stratify=True)
    steps = {"standardize": Standardize(use="standardize", per="all")}
    return Task(splits, rows, shape=(8, 8, 1), steps=steps, **of_many("digit", list(range(10))))
