"""Values: trees and numbers at the edge."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import (
    cast,
    compiled,
    every_extra,
    flat,
    gradients,
    repeated,
    require_finite,
    take_step,
)


@law
def empty_tree(tx: Any, params: Any) -> None:
    """An empty tree is a tree."""
    del params
    take_step(tx, ({}, tx.init({})), {})


@law
def none_leaf(tx: Any, params: Any) -> None:
    """None is part of the structure."""
    holed = {"some": params, "none": None}
    after, _ = take_step(tx, (holed, tx.init(holed)), {"some": gradients(params), "none": None})
    if after["none"] is not None:
        raise Broken(f"None became {after['none']!r}")


@law
def zero_gradients(tx: Any, params: Any) -> None:
    """Zero gradients make no NaN."""
    require_finite("the result ", repeated(tx, params, 0.0))


@law
def tiny_gradients(tx: Any, params: Any) -> None:
    """Gradients of 1e-30 make no NaN."""
    require_finite("the result ", repeated(tx, params, 1e-30))


@law
def huge_gradients(tx: Any, params: Any) -> None:
    """Gradients of 1e15 make no NaN."""
    require_finite("the result ", repeated(tx, params, 1e15))


@law
def one_gradient_of_1e37(tx: Any, params: Any) -> None:
    """One gradient of 1e37 among ordinary ones leaves the parameters and the state finite."""
    _one_of_size(tx, params, 1e37)


@law
def one_gradient_of_3e38(tx: Any, params: Any) -> None:
    """One gradient of 3e38, all but the largest float32, among ordinary ones leaves parameters and state finite."""
    _one_of_size(tx, params, 3e38)


def _one_of_size(tx: Any, params: Any, size: float) -> None:
    carry = (params, tx.init(params))
    for seed, factor in enumerate((1.0, size, 1.0, 1.0)):
        grads = jax.tree.map(lambda g, factor=factor: jnp.clip(g, -1, 1) * factor, gradients(params, seed))
        carry = compiled(tx)(carry, grads)
    require_finite("the result ", carry)


@law
def tiny_norms(tx: Any, params: Any) -> None:
    """An update that is the same for gradients of 1e-12 and 1e-15, or in proportion to them, is so at 1e-25."""
    start, grads = tx.init(params), gradients(params)

    def size_of_update(size: float) -> np.ndarray:
        scaled = jax.tree.map(lambda g: g * jnp.asarray(size, g.dtype), grads)
        return flat(tx.update(scaled, start, params, **every_extra())[0])

    small, smaller, tiny = map(size_of_update, (1e-12, 1e-15, 1e-25))
    if _close(smaller, small):
        expected = small
    elif _close(smaller, small * 1e-3):
        expected = small * 1e-13
    else:
        raise Skipped("its update depends on the size of the gradients in another way")
    if not _close(tiny, expected):
        raise Broken(f"the update is {np.max(np.abs(tiny)):.2g}, expected {np.max(np.abs(expected)):.2g}")


def _close(x: np.ndarray, y: np.ndarray) -> bool:
    return np.allclose(x, y, 1e-3, 1e-3 * np.max(np.abs(y), initial=0))


@law
def float16_zero_gradients(tx: Any, params: Any) -> None:
    """Zero gradients make no NaN in float16."""
    require_finite("the result ", repeated(tx, cast(params, jnp.float16), 0.0))
