"""Exported techniques and presets, and those of optax that do the same."""

from collections.abc import Iterator
from typing import Any

import optax

import optchain as oc
from optchain.core.registry import TECHNIQUE, Registered, registered

# optax spells these two as arguments of `sgd`.
SPELLED = {
    "momentum": lambda learning_rate, momentum=0.9: optax.sgd(learning_rate, momentum=momentum),
    "nesterov": lambda learning_rate, momentum=0.9: optax.sgd(learning_rate, momentum=momentum, nesterov=True),
}
LINE_SEARCHES = ("lbfgs",)  # evaluate the loss, of which a benchmark's step receives the value alone
VARIANTS: dict[str, list[dict[str, Any]]] = {"rmsprop": [{"centered": True}]}


def techniques() -> Iterator[tuple[str, Registered]]:
    """The exported functions that make a transformation, with arguments that they can be tried with."""
    for name, entry in sorted(registered().items()):
        if entry.kind == TECHNIQUE and vars(oc).get(name) is entry.make:
            yield name, entry


def pairs() -> Iterator[tuple[str, optax.GradientTransformation, optax.GradientTransformation]]:
    """A name, optchain's transformation, and optax's of the same name and arguments."""
    for name, technique in techniques():
        twin = SPELLED.get(name, vars(optax).get(name))  # not by attribute: one that has moved would warn
        # What surrounds another has other arguments in optax.
        if twin is None or "tx" in technique.example or name in LINE_SEARCHES:
            continue
        for extra in [{}, *VARIANTS.get(name, [])]:
            arguments = {**technique.example, **extra}
            yield " ".join([name, *extra]), technique.make(**arguments), twin(**arguments)
