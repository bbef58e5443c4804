"""Tables: the real data sets of rows and columns that come with scikit-learn."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn import datasets

from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.task import Task, split
from optchain.lab.data.tasks.classification import of_many
from optchain.lab.settings import tables

DATA = {
    "breast_cancer": datasets.load_breast_cancer,  # 569 x 30, two classes
    "diabetes": datasets.load_diabetes,  # 442 x 10, the disease's progress in a year
    "iris": datasets.load_iris,  # 150 x 4, three classes
    "wine": datasets.load_wine,  # 178 x 13, three classes
}


def load(table: tables.Task) -> Task:
    """The features as they were measured, standardized unless other steps are named, and the targets.

    Where the targets are classes the splits are stratified. Those of `diabetes` are continuous: the loss is the squared
    error in standard deviations of the training targets from their mean, the metric the absolute error in their own
    unit. A fraction of the entries, drawn by the split's seed, is taken away where `task.missing` says so, for these
    data sets miss none.
    """
    bunch: Any = DATA[table.data or ""](**({"scaled": False} if table.data == "diabetes" else {}))
    inputs, targets = np.array(bunch.data, np.float64), np.asarray(bunch.target)
    inputs[np.random.default_rng(table.seed).random(inputs.shape) < table.missing] = np.nan
    common: dict[str, Any] = {
        "shape": inputs.shape[1:],
        "steps": {"standardize": Standardize(use="standardize")},
    }
    if table.data != "diabetes":
        splits, rows = split(inputs, targets.astype(np.int32), table, stratify=True)
        return Task(splits, rows, **common, **of_many("class", [str(name) for name in bunch.target_names]))
    splits, rows = split(inputs, targets, table, stratify=False)
    mean, deviation = splits["train"][1].mean(), splits["train"][1].std()
    return Task(
        splits={name: (x, ((y - mean) / deviation).astype(np.float32)) for name, (x, y) in splits.items()},
        rows=rows,
        outputs=1,
        loss=lambda outputs, targets: (outputs[:, 0] - targets) ** 2,
        metric=lambda outputs, targets: deviation * jnp.abs(outputs[:, 0] - targets),
        metric_name="absolute_error",
        answer=lambda outputs: {"progress": mean + deviation * outputs[:, 0]},
        **common,
    )
