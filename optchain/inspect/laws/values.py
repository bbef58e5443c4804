"""Values: trees and numbers at the edge."""

from typing import Any

import jax.numpy as jnp

from optchain.inspect.laws.check import Broken, law
from optchain.inspect.laws.steps import cast, gradients, repeated, require_finite, take_step


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
def float16_zero_gradients(tx: Any, params: Any) -> None:
    """Zero gradients make no NaN in float16."""
    require_finite("the result ", repeated(tx, cast(params, jnp.float16), 0.0))
