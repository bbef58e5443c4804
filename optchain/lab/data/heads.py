"""Several targets of an example, by name: each is answered by a head of the model, and is a task of its own."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.numbers import are_classes, numbered, outputs_of
from optchain.lab.data.task import Head


def of_head(examples: Examples, name: str) -> Examples:
    """The examples with one of their targets."""
    labels = examples.labels.get(name) if isinstance(examples.labels, Mapping) else None
    return dataclasses.replace(examples, targets=examples.targets[name], labels=labels, loss=None, names=(name,))


def require_heads(examples: Examples) -> None:
    """Several targets are arrays by names, and what is said of them is said of one that there is.

    Raises:
        InputError: naming the target.
    """
    for name, x in examples.targets.items():
        if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]*", name):
            expected = "use lower-case letters, digits and underscores, a letter first"
            raise InputError(f"task: {name!r} is not a valid name of a target; {expected}")
        if isinstance(x, Mapping):
            raise InputError(f"task: the target {name!r} is a table of more of them; expected an array")
    if examples.scale:
        raise InputError("task: scale is for one array of targets; scale each of several targets in the task itself")
    if examples.outputs is not None:
        raise InputError("task: outputs is for one array of targets; each of several targets says how many it needs")
    if examples.labels is not None and not isinstance(examples.labels, Mapping):
        raise InputError("task: labels are names of the classes of one target; expected a dict of them by target")
    for name in examples.labels or ():
        if name not in examples.targets:
            near = nearest(name, examples.targets)
            raise InputError(f"task: labels has {name!r}, and there is no such target; {near}")


def numbered_heads(
    examples: Examples, of_classes: Mapping[str, bool] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Head]]:
    """The targets as a network is told them, and what is known of each.

    Args:
        examples: with several targets.
        of_classes: whether the loss of each takes classes; by the data if left out.
    """
    require_heads(examples)
    targets, heads = {}, {}
    for name in examples.targets:
        own = of_head(examples, name)
        numbers, labels = numbered(own, are_classes(own) if of_classes is None else of_classes[name])
        targets[name], heads[name] = numbers, Head(labels, outputs_of(numbers, labels) or 1)
    return targets, heads
