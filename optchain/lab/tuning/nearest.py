"""Earlier studies of tasks that are like another one, and the best points that they found."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from optchain.lab.base.errors import InputError
from optchain.lab.runs import config
from optchain.lab.runs.facts import Facts, facts
from optchain.lab.runs.run import Run
from optchain.lab.settings.load import flat


class Neighbour(NamedTuple):
    """An earlier study, how unlike its task is, and the best values that it found."""

    folder: Path
    distance: float
    point: dict[str, Any]


def nearest_studies(folder: Path, like: Facts, keys: Collection[str], count: int) -> list[Neighbour]:
    """The earlier studies whose tasks are most like another one, the nearest first.

    Args:
        folder: in which studies are looked for, in folders within it too.
        like: the facts of the task.
        keys: dotted keys of the configuration. Studies whose best configuration has a number at none of them are
            passed over.
        count: how many, at most.

    Raises:
        InputError: there is no finished study of such a task.
    """
    found, seen = [], 0
    for path in sorted(folder.rglob("best.toml")):
        theirs = next(filter(None, (facts(Run(run.parent)) for run in path.parent.glob("*/*/task.json"))), None)
        values = flat(config.load(path).model_dump())
        point = {key: x for key in keys if type(x := values.get(key)) in (int, float)}
        seen += 1
        if theirs is not None and point and math.isfinite(apart := distance(like, theirs)):
            found.append(Neighbour(path.parent, apart, point))
    if not found:
        what = f"{seen} studies, none of a task like this one with {', '.join(keys)}" if seen else "no finished study"
        raise InputError(f"{folder} holds {what}; expected the folder of earlier studies")
    return sorted(found, key=lambda neighbour: neighbour.distance)[:count]


def distance(a: Facts, b: Facts) -> float:
    """How unlike two tasks are: the root of the sum of squares of the decimal logarithms of how many times as many
    training examples, numbers in an example, and outputs one has as the other, and as rare a class; infinite where one
    has classes and the other has none."""
    if (a.rarest is None) != (b.rarest is None):
        return math.inf
    pairs = ((a.examples["train"], b.examples["train"]), (a.inputs, b.inputs), (a.outputs, b.outputs))
    ratios = [math.log10(x / y) for x, y in (*pairs, (a.rarest, b.rarest)) if x and y]
    return math.hypot(*ratios)
