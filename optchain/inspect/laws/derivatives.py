"""Derivatives: one can differentiate through updates, as learned optimizers and meta-gradients do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.walk import definitions
from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import cast, every_extra, gradients

STEP = 1e-6


@law
def derivatives(tx: Any, params: Any) -> None:
    """Reverse-mode derivatives of two updates are finite, where gradients have always been 0 too, and right.

    They are those of a weighted sum of the updates with respect to the gradients and the parameters, in float64. What
    is right is said by finite differences in a direction that leaves the zeros alone, where there may be a kink.
    """
    with jax.enable_x64(True):
        _differentiate(tx, params)


def _differentiate(tx: Any, params: Any) -> None:
    some = {"some": params, "still": jnp.array([[0.3, -0.7], [0.9, 0.4]])}
    drawn = [cast(gradients(some, seed), jnp.float64) for seed in range(5)]
    some, (first, second, weights, *direction) = cast(some, jnp.float64), drawn
    first, second, direction[0] = map(_with_zeros, (first, second, direction[0]))

    @jax.jit
    @jax.value_and_grad
    def total(point: Any) -> jax.Array:
        moved, params = point
        one, state = tx.update(moved, tx.init(params), params, **every_extra())
        two, _ = tx.update(second, state, params, **every_extra())
        pairs = zip(jax.tree.leaves((one, two)), jax.tree.leaves((weights, weights)), strict=True)
        return sum((jnp.vdot(u, w) for u, w in pairs), jnp.zeros(()))

    point = (first, some)
    try:
        _, slope = total(point)
    except ValueError as error:
        if any(link.name in str(error) for _, link in definitions(tx)):
            raise Skipped(f"refused: {str(error).splitlines()[0]}") from None
        raise
    at_zero = (jax.tree.map(jnp.zeros_like, first), some)
    for what, x in (("", slope), (" at gradients of 0", total(at_zero)[1])):
        for path, y in jax.tree.leaves_with_path(x):
            if not np.isfinite(y).all():
                raise Broken(f"the derivative{what} {jax.tree_util.keystr(path)} is not finite")
    above, below = (
        total(jax.tree.map(lambda x, d, sign=sign: x + sign * STEP * d, point, tuple(direction)))[0] for sign in (1, -1)
    )
    expected = float(above - below) / (2 * STEP)
    terms = [float(jnp.vdot(x, d)) for x, d in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True)]
    if abs(sum(terms) - expected) > 1e-4 * max(map(abs, [*terms, expected])) + 1e-7:
        raise Broken(f"the derivative is {sum(terms):.6g}, finite differences give {expected:.6g}")


def _with_zeros(tree: Any) -> Any:
    """The tree with zeros for one leaf and for the first row of each matrix."""
    some = jax.tree.map(lambda x: x.at[0].set(0) if x.ndim > 1 else x, tree["some"])
    return {"some": some, "still": jnp.zeros_like(tree["still"])}
