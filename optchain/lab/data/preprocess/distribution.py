"""Distributions: each feature bent until its training values are uniform or about normal."""

from typing import Literal

import numpy as np
from pydantic import Field
from sklearn.preprocessing import PowerTransformer, QuantileTransformer

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, flat


class Quantile(Step):
    """Each value becomes its quantile among the training rows, or that quantile of the normal distribution."""

    use: Literal["quantile"] = "quantile"
    to: Literal["normal", "uniform"] = "uniform"
    quantiles: int = Field(default=100, ge=2)  # that are kept, no more than there are training rows

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        kept = min(self.quantiles, len(inputs))
        transformer = QuantileTransformer(n_quantiles=kept, output_distribution=self.to, subsample=len(inputs))
        transformer.fit(flat(inputs))
        return Fitted(lambda rows: np.asarray(transformer.transform(flat(rows))).reshape(rows.shape))


class Power(Step):
    """A power of each feature, the one that makes it most like normal, then standardized."""

    use: Literal["power"] = "power"
    by: Literal["box_cox", "yeo_johnson"] = "yeo_johnson"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        if self.by == "box_cox":
            _require_positive(inputs)
        transformer = PowerTransformer(self.by.replace("_", "-")).fit(flat(inputs))

        def transform(rows: np.ndarray) -> np.ndarray:
            if self.by == "box_cox":
                _require_positive(rows)
            return np.asarray(transformer.transform(flat(rows))).reshape(rows.shape)

        return Fitted(transform)


def _require_positive(rows: np.ndarray) -> None:
    if np.nanmin(rows) <= 0:
        raise InputError(f"box_cox is for positive values; got {np.nanmin(rows):g}; expected by = 'yeo_johnson'")
