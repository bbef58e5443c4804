"""The search space: which dimensions a trial has, their values, and the points of a grid."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna

from optchain.lab.tuning.dimensions import AnyDimension, Choice, Int, Label

Space = dict[str, AnyDimension]


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Label]:
    """The labels of a trial's dimensions, those that hold under its earlier ones."""
    labels: dict[str, Label] = {}
    for name, dimension in space.items():
        if holds(dimension, labels):
            labels[name] = _suggested(trial, name, dimension)
    return labels


def _suggested(trial: optuna.Trial, name: str, dimension: AnyDimension) -> Label:
    match dimension:
        case Choice():
            return trial.suggest_categorical(name, list(dimension.labels))
        case Int():
            return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.logarithmic)
        case _:
            return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.logarithmic)


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
            point | ({name: label} if holds(dimension, point) else {})
            for point in points
            for label in (along(dimension) if holds(dimension, point) else [None])
        ]
    return points


def along(dimension: AnyDimension) -> list[Label]:
    """A grid's values of one dimension."""
    if isinstance(dimension, Choice):
        return list(dimension.labels)
    values = (np.geomspace if dimension.logarithmic else np.linspace)(dimension.low, dimension.high, dimension.points)
    if isinstance(dimension, Int):
        return sorted({int(round(x)) for x in values})
    return [float(x) for x in values]


def samples(space: Space) -> Iterator[dict[str, Label]]:
    """Points that together have every choice and both ends of every range: what must be valid before a study begins."""
    reached: dict[str, list[dict[str, Label]]] = {}
    for name, dimension in space.items():
        under: dict[str, Label] = {}
        for other, wanted in dimension.when.items():
            label = wanted[0] if isinstance(wanted, list) else wanted
            under |= reached[other][0] | {other: label}
        ends = list(dimension.labels) if isinstance(dimension, Choice) else [dimension.low, dimension.high]
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
        low, high = dimension.low, dimension.high
        scale = math.log if dimension.logarithmic else float
        at = (scale(label) - scale(low)) / (scale(high) - scale(low))
    if 0.05 < at < 0.95:
        return None
    return f"{label:g} is at the {'lower' if at <= 0.05 else 'upper'} end of what was searched, {low:g} to {high:g}"
