"""Factors: the numbers of a rule, multiplied for single leaves."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from optchain.core.numbers import means
from optchain.core.numerics import quotient, sqrt

Own = Mapping[str, Mapping[str, Any]]  # by a number's own name and a leaf's path


def factors_of(factors: Own, leaf: str) -> dict[str, Any]:
    """The factors of one leaf by the names of the numbers."""
    return {name: by_leaf[leaf] for name, by_leaf in factors.items() if leaf in by_leaf}


def multiplied(owner: str, rule: Any, own: Mapping[str, Any], leaf: str) -> Any:
    """The rule of one leaf, whose numbers are multiplied by the leaf's own factors.

    Raises:
        ValueError: a factor of a mean's decay, because the link keeps one weight for the means of all leaves.
    """
    for name in own.keys() & set(means(type(rule))):
        cure = f"give {leaf!r} a transformation of its own"
        raise ValueError(
            f"{owner}: {name} is the decay of means with one weight for all leaves, without factors; {cure}"
        )
    return dataclasses.replace(rule, **{name: getattr(rule, name) * x for name, x in own.items()}) if own else rule


def units(rule: Any, factors: Own, leaves: list[str]) -> tuple[list[Any] | None, Own]:
    """What the gradient and the update of each leaf are multiplied by where learning rates differ, and other factors.

    The largest learning rate is that of the rule, of which each leaf takes its part.
    """
    by_leaf = factors.get("learning_rate", {})
    rates = [by_leaf.get(leaf, 1.0) for leaf in leaves]
    if rule.rate_power is None or len(_distinct(rates)) < 2:
        return None, factors
    if all(isinstance(rate, float) for rate in rates):
        largest = max(rates)
        scales = [(rate / largest) ** rule.rate_power for rate in rates]
    else:
        largest = functools.reduce(jnp.maximum, rates)
        parts = [jnp.where(largest == 0, 1, quotient(rate, largest)) for rate in rates]
        scales = [sqrt(part) if rule.rate_power == 0.5 else part for part in parts]
    return scales, {**factors, "learning_rate": dict.fromkeys(leaves, largest)}


def common(owner: str, rule: Any, factors: Own, leaves: list[str]) -> Any:
    """The rule of all leaves together, whose numbers are multiplied by the factor that all of them have.

    Raises:
        ValueError: two leaves with different factors.
    """
    for name, by_leaf in factors.items():
        multipliers = {leaf: by_leaf.get(leaf, 1.0) for leaf in leaves}
        distinct = _distinct(list(multipliers.values()))
        if len(distinct) > 1:
            leaf, other, *_ = (leaves[i] for i in distinct.values())
            problem = f"{name!r} is one number for all leaves, but {leaf!r} and {other!r} have different factors"
            raise ValueError(f"{owner}: {problem}")
        for factor in list(multipliers.values())[:1]:
            rule = multiplied(owner, rule, {name: factor}, leaves[0])
    return rule


def _distinct(factors: list[Any]) -> dict[Any, int]:
    """The last leaf of each different factor."""
    # An array has no hash: it is the same factor where it is the same object.
    return {x if isinstance(x, float) else id(x): i for i, x in enumerate(factors)}
