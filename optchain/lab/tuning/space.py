"""The search space: which dimensions a trial has, their values, and the points of a grid."""

import itertools
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optchain.lab.tuning.dimensions import AnyDimension, Choice
from optchain.lab.tuning.numbers import Float, Int, Label, Log

Space = dict[str, AnyDimension]


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Label]:
    """The labels of a trial's dimensions, those that hold under its earlier ones."""
    found: dict[str, Label] = {}
    for name, dimension in space.items():
        if holds(dimension, found):
            found |= labels({name: _suggested(trial, name, distribution(dimension))}, space)
    return found


def _suggested(trial: optuna.Trial, name: str, among: BaseDistribution) -> CategoricalChoiceType:
    match among:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, among.choices)
        case IntDistribution():
            return trial.suggest_int(name, among.low, among.high, step=among.step, log=among.log)
        case FloatDistribution():
            return trial.suggest_float(name, among.low, among.high, step=among.step, log=among.log)
    raise TypeError(f"got {among!r}")


def distribution(dimension: AnyDimension) -> BaseDistribution:
    """What Optuna draws from for a dimension, see `labels`."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(list(dimension.labels))
    low, high = dimension.stored_ends
    match dimension:
        case Int():
            return IntDistribution(low, high, log=dimension.logarithmic, step=dimension.step or 1)
        case Float():
            return FloatDistribution(low, high, step=dimension.step)
        case _:  # a normal distribution is stored as its quantiles, which are equally likely
            return FloatDistribution(low, high, log=isinstance(dimension, Log))


def labels(stored: dict[str, Any], space: Space) -> dict[str, Label]:
    """The labels that Optuna's numbers stand for."""
    return {name: x if isinstance(space[name], Choice) else space[name].value(x) for name, x in stored.items()}


def stored(labels: dict[str, Label], space: Space) -> dict[str, Any]:
    """The numbers by which Optuna stores labels."""
    return {name: x if isinstance(space[name], Choice) else space[name].stored(x) for name, x in labels.items()}


def holds(dimension: AnyDimension, labels: dict[str, Label]) -> bool:
    """Whether a dimension's conditions are met."""
    return all(
        other in labels and labels[other] in (wanted if isinstance(wanted, list) else [wanted])
        for other, wanted in dimension.when.items()
    )


def values(labels: dict[str, Label], space: Space) -> dict[str, Any]:
    """What the configuration gets, by dimension."""
    return {
        name: dimension.labels[label] if isinstance(dimension := space[name], Choice) else label
        for name, label in labels.items()
    }


def grid(space: Space) -> list[dict[str, Label]]:
    """All points of the grid, those of conditional dimensions only where the conditions hold."""
    points: list[dict[str, Label]] = [{}]
    for name, dimension in space.items():
        points = [
            longer
            for point in points
            for longer in (
                [point | {name: label} for label in along(dimension)] if holds(dimension, point) else [point]
            )
        ]
    return points


def along(dimension: AnyDimension) -> list[Label]:
    """A grid's values of one dimension."""
    if isinstance(dimension, Choice):
        return list(dimension.labels)
    return list(dimension.along())


def samples(space: Space) -> Iterator[dict[str, Label]]:
    """Points that together have every choice and both ends of every range: what must be valid before a study begins."""
    reached: dict[str, list[dict[str, Label]]] = {}
    for name, dimension in space.items():
        under: dict[str, Label] = {}
        for other, wanted in dimension.when.items():
            label = wanted[0] if isinstance(wanted, list) else wanted
            under |= reached[other][0] | {other: label}
        ends = list(dimension.labels) if isinstance(dimension, Choice) else list(dimension.ends)
        reached[name] = [under | {name: end} for end in ends]
    yield from itertools.chain(*reached.values())


def edge(dimension: AnyDimension, label: Label) -> str | None:
    """In words that a value lies within a twentieth of a range's end: the best may lie outside."""
    if isinstance(dimension, Choice):
        numbers = [x for x in dimension.labels.values() if isinstance(x, int | float) and not isinstance(x, bool)]
        if len(numbers) < max(3, len(dimension.labels)):
            return None
        low, high, label = min(numbers), max(numbers), dimension.labels[label]
        at = 0.0 if label == low else 1.0 if label == high else 0.5
    else:
        (low, high), at = dimension.ends, dimension.place(label)
        if not dimension.limits[at > 0.5]:
            return None
    if 0.05 < at < 0.95:
        return None
    return f"{label:g} is at the {'lower' if at <= 0.05 else 'upper'} end of what was searched, {low:g} to {high:g}"
