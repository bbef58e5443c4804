"""A leak: a table of which something has been learned from all rows, before they are split."""

import dataclasses
from typing import Literal

import numpy as np
from sklearn.feature_selection import f_classif

from experiments.tasks.tabular import Tabular
from optchain import lab


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The features of a data set, scaled by all rows: those too that are held out later.

    Args:
        data: a data set with classes.
        features: how many are kept, those with the highest analysis of variance over all rows; all if left out.
    """

    data: Literal["breast_cancer", "iris", "wine"]
    features: int | None = None

    def load(self) -> lab.Examples:
        """The examples, which no step has to prepare any more."""
        examples = Tabular(self.data).load()
        inputs = (examples.inputs - examples.inputs.mean(0)) / examples.inputs.std(0)
        if self.features is not None:
            scores = f_classif(inputs, examples.targets)[0]
            inputs = inputs[:, np.sort(np.argsort(-scores, kind="stable")[: self.features])]
        return dataclasses.replace(examples, inputs=inputs, steps={})
