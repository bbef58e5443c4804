"""Selection: the features that tell most about the targets; the others are left out."""

from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt
from sklearn.feature_selection import RFE, chi2, f_classif, f_regression
from sklearn.linear_model import Ridge, RidgeClassifier, lasso_path
from sklearn.svm import LinearSVC, l1_min_c

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, flat, require_complete
from optchain.lab.data.standalone import steps


class Select(Step):
    """Keeps `k` features, in their order; images become vectors. Features that never vary are not chosen.

    `chi2` and `anova` score each feature by itself, for continuous targets `anova` by its linear regression. `l1` takes
    the first features that a linear model with an l1 penalty needs while the penalty falls, and `rfe` leaves out the
    one with the least weight in a ridge model, again and again. For these two the features should have one scale:
    `standardize` first.
    """

    use: Literal["select"] = "select"
    k: PositiveInt
    by: Literal["anova", "chi2", "l1", "rfe"] = "anova"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        require_complete(inputs)
        features, classes = flat(inputs), np.issubdtype(targets.dtype, np.integer)
        varying = np.flatnonzero(np.ptp(features, axis=0) > 0)
        if self.k > len(varying):
            raise InputError(f"k = {self.k} of {len(varying)} features that vary in the training rows")
        chosen = varying[np.sort(self._chosen(features[:, varying], targets, classes))]
        return Fitted(steps.Chosen(chosen))

    def _chosen(self, features: np.ndarray, targets: np.ndarray, classes: bool) -> np.ndarray:
        match self.by:
            case "chi2":
                if not classes:
                    raise InputError("chi2 is for classes, and these targets are continuous; expected 'anova'")
                if features.min() < 0:
                    raise InputError(f"chi2 is for features of at least 0; got {features.min():g}; expected 'anova'")
                return _highest(chi2(features, targets)[0], self.k)
            case "anova":
                return _highest((f_classif if classes else f_regression)(features, targets)[0], self.k)
            case "l1":
                return _first_needed(features, targets, classes, self.k)
            case "rfe":
                model = RidgeClassifier() if classes else Ridge()
                return np.flatnonzero(RFE(model, n_features_to_select=self.k).fit(features, targets).support_)


def _highest(scores: np.ndarray, k: int) -> np.ndarray:
    """The indices of the highest scores; of equal ones, the first."""
    return np.argsort(-scores, kind="stable")[:k]


def _first_needed(features: np.ndarray, targets: np.ndarray, classes: bool, k: int) -> np.ndarray:
    """The k features of the greatest weight at the strongest penalty at which so many have one."""
    if classes:
        weakest = l1_min_c(features, targets)  # at which the first weight appears
        for c in weakest * np.geomspace(1.1, 1e4, 40):
            options: dict[str, Any] = {"penalty": "l1", "dual": False, "random_state": 0, "max_iter": 10_000}
            model = LinearSVC(C=c, **options).fit(features, targets)
            weights = np.abs(model.coef_).max(axis=0)
            if np.count_nonzero(weights) >= k:
                return _highest(weights, k)
    else:
        centered = features - features.mean(axis=0)
        for weights in np.abs(lasso_path(centered, targets - targets.mean())[1].T):
            if np.count_nonzero(weights) >= k:
                return _highest(weights, k)
    raise InputError(f"no l1 penalty leaves k = {k} features; expected a lower k, or 'rfe'")
