"""Tables: the real data sets of rows and columns that come with scikit-learn."""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from sklearn import datasets

from optchain import lab

DATA = {
    "breast_cancer": datasets.load_breast_cancer,  # 569 x 30, two classes
    "diabetes": datasets.load_diabetes,  # 442 x 10, the disease's progress in a year
    "iris": datasets.load_iris,  # 150 x 4, three classes
    "wine": datasets.load_wine,  # 178 x 13, three classes
}


@dataclasses.dataclass(frozen=True)
class Tabular:
    """The features as they were measured, standardized unless other steps are named, and the targets.

    A fraction of the entries, drawn by the seed, is taken away where `missing` says so, for these data sets miss none.
    """

    data: Literal["breast_cancer", "diabetes", "iris", "wine"]
    missing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 0

    def load(self) -> lab.Examples:
        """The examples of the data set."""
        bunch: Any = DATA[self.data](**({"scaled": False} if self.data == "diabetes" else {}))
        inputs, targets = np.array(bunch.data, np.float64), np.asarray(bunch.target)
        inputs[np.random.default_rng(self.seed).random(inputs.shape) < self.missing] = np.nan
        steps = {"standardize": lab.Standardize()}
        if self.data == "diabetes":
            return lab.Examples(inputs, targets, names=("progress",), scale=True, steps=steps)
        labels = [str(name) for name in bunch.target_names]
        return lab.Examples(inputs, targets, labels=labels, steps=steps)
