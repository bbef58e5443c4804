"""Distributions: each feature bent until its training values are uniform or about normal."""

from typing import Literal

import numpy as np
from pydantic import Field
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, StandardScaler

from optchain.lab.data.preprocess.step import Fitted, Step, flat
from optchain.lab.data.standalone import steps


class Quantile(Step):
    """Each value becomes its quantile among the training rows, or that quantile of the normal distribution."""

    use: Literal["quantile"] = "quantile"
    to: Literal["normal", "uniform"] = "uniform"
    quantiles: int = Field(default=100, ge=2)  # that are kept, no more than there are training rows

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        kept = min(self.quantiles, len(inputs))
        transformer = QuantileTransformer(n_quantiles=kept, output_distribution=self.to, subsample=len(inputs))
        transformer.fit(flat(inputs))
        if self.to == "uniform":
            return Fitted(steps.Ranked(transformer.references_, np.asarray(transformer.quantiles_)))
        return Fitted(lambda rows: np.asarray(transformer.transform(flat(rows))).reshape(rows.shape))


class Power(Step):
    """A power of each feature, the one that makes it most like normal, then standardized."""

    use: Literal["power"] = "power"
    by: Literal["box_cox", "yeo_johnson"] = "yeo_johnson"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        if self.by == "box_cox":
            steps.require_positive(inputs)
        transformer = PowerTransformer(self.by.replace("_", "-"), standardize=False).fit(flat(inputs))
        powered = steps.Powered(np.asarray(transformer.lambdas_), self.by == "box_cox")
        scaler = StandardScaler().fit(powered(flat(inputs)))
        return Fitted(steps.Both(powered, steps.Standardized(np.asarray(scaler.mean_), np.asarray(scaler.scale_))))
