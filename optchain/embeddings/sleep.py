"""Rows at rest: what becomes of the slots of a row that a step does not touch, and when it catches up."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.law import Law
from optchain.core.numbers import in_dtype
from optchain.core.seen import log_decay

Around = Callable[[Law, Any, str, jax.Array, Form], Law]  # a law, its rule, the path and gradient of its leaf, its form


class Sleeps:
    """A rule for whose slots k updates without a gradient can be made at once: the base of a class made by `rule`.

    Attributes:
        shrinks: a gradient of 0 multiplies the parameter by a number that is the same for all its entries.
        linear: the update is such a multiple of the gradient.
    """

    shrinks = False
    linear = False

    def sleep(self, s: Any, k: jax.Array) -> Any:
        """The slots after k updates with a gradient of 0."""
        raise NotImplementedError


class Rests(Sleeps):
    """A rule for which an update with a gradient of 0 changes nothing."""

    def sleep(self, s: Any, k: jax.Array) -> Any:
        return s


def decayed(mean: jax.Array, b: Any, k: jax.Array) -> jax.Array:
    """An average, or a decaying sum, after k samples of 0."""
    return mean * jnp.where(k > 0, jnp.exp(k * log_decay(b)), 1).astype(mean.dtype)


def waking(slept: Mapping[str, jax.Array]) -> Around:
    """A decorator of the law of one leaf, whose rows first make up for the updates that they have slept through.

    Args:
        slept: by the path of a table, for each of its rows how many updates that were.
    """

    def around(law: Law, rule: Any, leaf: str, g: jax.Array, form: Form) -> Law:
        if leaf not in slept or not isinstance(rule, Sleeps):
            return law
        # As the sleep of one layer broadcasts it, or over the whole leaf.
        k = slept[leaf] if form.depth else jnp.expand_dims(slept[leaf], range(1, g.ndim))
        rule = in_dtype(rule, g.dtype)

        def woken(g: Any, s: Any, p: Any, extras: dict[str, Any]) -> tuple[Any, Any]:
            return law(g, form.over(rule.sleep)(s, k.astype(g.dtype)), p, extras)

        return woken

    return around
