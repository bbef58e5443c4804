"""Missing values: filled in, or their rows left out."""

from typing import Literal

import numpy as np
from sklearn.impute import SimpleImputer

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, flat, missing


class Impute(Step):
    """A missing value becomes what its feature has in the training rows: the mean, the median or the mode."""

    use: Literal["impute"] = "impute"
    by: Literal["mean", "median", "most_frequent"] = "mean"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        empty = np.flatnonzero(np.isnan(flat(inputs)).all(axis=0))
        if len(empty):
            raise InputError(f"feature {empty[0] + 1} is missing in all training rows")
        imputer = SimpleImputer(strategy=self.by).fit(flat(inputs))
        return Fitted(lambda rows: np.asarray(imputer.transform(flat(rows))).reshape(rows.shape))


class DropMissing(Step):
    """Training rows that miss a value are left out. Any other row has to be answered, and so may miss none."""

    use: Literal["drop_missing"] = "drop_missing"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        return Fitted(_complete, ~missing(inputs))


def _complete(rows: np.ndarray) -> np.ndarray:
    count = int(missing(rows).sum())
    if count:
        rest = f"and {count} of these {len(rows)} miss values; expected use = 'impute'"
        raise InputError(f"drop_missing leaves out training rows only, {rest}")
    return rows
