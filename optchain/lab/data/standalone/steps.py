"""Steps of the preparation as they are applied: what each has learned from the training rows, as arrays."""

import dataclasses
from collections.abc import Callable

import numpy as np


def flat(rows: np.ndarray, features: int | None = None) -> np.ndarray:
    """The rows as vectors of features.

    Args:
        rows: the rows, of any shape.
        features: how many there must be; any number if left out.

    Raises:
        ValueError: there is another number of features.
    """
    vectors = rows.reshape(len(rows), -1)
    if features not in (None, vectors.shape[1]):
        raise ValueError(f"got rows of {vectors.shape[1]} features; expected {features}, as in training")
    return vectors


@dataclasses.dataclass(frozen=True)
class Unchanged:
    """Leaves rows as they are."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows


@dataclasses.dataclass(frozen=True)
class Complete:
    """Leaves rows as they are, of which none may miss a value."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        count = int(np.isnan(flat(rows)).any(axis=1).sum())
        if count:
            rest = f"and {count} of these {len(rows)} miss values; expected use = 'impute'"
            raise ValueError(f"drop_missing leaves out training rows only, {rest}")
        return rows


@dataclasses.dataclass(frozen=True)
class Filled:
    """A missing value becomes that of its feature."""

    values: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        features = flat(rows, len(self.values))
        return np.where(np.isnan(features), self.values, features).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class Clipped:
    """Values beyond the bounds of their feature become the bound."""

    low: np.ndarray
    high: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.clip(flat(rows, len(self.low)), self.low, self.high).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class Standardized:
    """The mean is subtracted and the deviation divided by: those of each feature, or one of each for all."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        features = flat(rows, None if len(self.mean) == 1 else len(self.mean))
        return ((features - self.mean) / self.deviation).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Multiplied and then shifted, each feature by its own numbers or all by the same."""

    factor: np.ndarray
    shift: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        features = flat(rows, None if len(self.factor) == 1 else len(self.factor))
        return (features * self.factor + self.shift).reshape(rows.shape)


@dataclasses.dataclass(frozen=True)
class Powered:
    """A power of each feature, of Yeo and Johnson or of Box and Cox."""

    powers: np.ndarray
    positive: bool  # whether it is that of Box and Cox

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        features = flat(rows, len(self.powers))
        if self.positive:
            require_positive(features)
        bend = _box_cox if self.positive else _yeo_johnson
        columns = [bend(x, power) for x, power in zip(features.T, self.powers, strict=True)]
        return np.stack(columns, axis=1).reshape(rows.shape)


def require_positive(rows: np.ndarray) -> None:
    """All values are positive.

    Raises:
        ValueError: one is not.
    """
    if np.nanmin(rows) <= 0:
        raise ValueError(f"box_cox is for positive values; got {np.nanmin(rows):g}; expected by = 'yeo_johnson'")


def _box_cox(x: np.ndarray, power: float) -> np.ndarray:
    return _power(np.log(x), power)


def _yeo_johnson(x: np.ndarray, power: float) -> np.ndarray:
    above, below = np.log1p(np.maximum(x, 0)), np.log1p(-np.minimum(x, 0))
    return np.where(x >= 0, _power(above, power), -_power(below, 2 - power))


def _power(logarithm: np.ndarray, power: float) -> np.ndarray:
    return logarithm if power == 0 else np.expm1(power * logarithm) / power


@dataclasses.dataclass(frozen=True)
class Both:
    """One step after another."""

    first: Callable[[np.ndarray], np.ndarray]
    second: Callable[[np.ndarray], np.ndarray]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.second(self.first(rows))


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The quantile of each value among those of training, between 0 and 1."""

    levels: np.ndarray  # of the quantiles
    quantiles: np.ndarray  # [levels, features]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        features = flat(rows, self.quantiles.shape[1])
        ranked = [self._ranks(x, known) for x, known in zip(features.T, self.quantiles.T, strict=True)]
        return np.stack(ranked, axis=1).reshape(rows.shape)

    def _ranks(self, x: np.ndarray, known: np.ndarray) -> np.ndarray:
        # From both ends, because equal quantiles have several levels, whose middle is meant.
        from_below = np.interp(x, known, self.levels)
        from_above = -np.interp(-x, -known[::-1], -self.levels[::-1])
        ranks = 0.5 * (from_below + from_above)
        return np.where(x == known[0], 0.0, np.where(x == known[-1], 1.0, ranks))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some of the features, in their order."""

    features: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return flat(rows)[:, self.features]


@dataclasses.dataclass(frozen=True)
class OneHot:
    """Columns that are features as they were, or 1 where a feature is of one category and otherwise 0."""

    width: int  # of a row before
    source: np.ndarray  # the feature of each column
    category: np.ndarray  # that a column stands for, NaN where it is the feature itself

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if rows.shape[1:] != (self.width,):
            raise ValueError(f"got rows of shape {rows.shape[1:]}; expected {self.width} features, as in training")
        features = rows[:, self.source]
        return np.where(np.isnan(self.category), features, features == self.category)
