"""Missing values: filled in, or their rows left out."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from sklearn.impute import SimpleImputer

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, cut, flat, missing
from optchain.lab.data.standalone import steps


class Impute(Step):
    """A missing value becomes what its feature has in the training rows: the mean, the median or the mode."""

    use: Literal["impute"] = "impute"
    by: Literal["mean", "median", "most_frequent"] = "mean"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        if self.by == "mean":
            return self.fit_in_blocks(cut(inputs))
        empty = np.flatnonzero(np.isnan(flat(inputs)).all(axis=0))
        if len(empty):
            raise InputError(f"feature {empty[0] + 1} is missing in all training rows")
        imputer = SimpleImputer(strategy=self.by).fit(flat(inputs))
        return Fitted(steps.Filled(np.asarray(imputer.statistics_, np.float64)))

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        if self.by != "mean":
            return super().fit_in_blocks(blocks)
        sums, counts = 0.0, 0
        for rows in blocks:
            sums = sums + np.nansum(flat(rows), axis=0)
            counts = counts + np.count_nonzero(~np.isnan(flat(rows)), axis=0)
        if not np.all(counts):
            raise InputError(f"feature {np.flatnonzero(counts == 0)[0] + 1} is missing in all training rows")
        return Fitted(steps.Filled(np.asarray(sums / counts, np.float64)))


class DropMissing(Step):
    """Training rows that miss a value are left out. Any other row has to be answered, and so may miss none."""

    use: Literal["drop_missing"] = "drop_missing"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        return Fitted(steps.Complete(), ~missing(inputs))
