"""What a user holds: an optax transformation that knows its own definition."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from optchain.core.numerics import wide
from optchain.core.paths import path_of
from optchain.core.row_gradient import require_taken
from optchain.core.runner import Result, left_out


class Transform(optax.GradientTransformationExtraArgs):
    """An optax transformation whose two functions are the bound methods of a definition.

    The definition (`Dense`, `Chain`, ...) is a frozen dataclass, found again as `link`. So a transformation survives
    `_replace`, tree maps, pickling and deep copies, prints, and equals another one of the same definition.
    """

    __slots__ = ()

    @property
    def link(self) -> Any:
        """The definition of this transformation."""
        return self.update.__self__  # pyright: ignore

    def __repr__(self) -> str:
        return repr(self.link)

    def __str__(self) -> str:
        return str(self.link)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and _same(self.link, other.link)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        # Numbers may be arrays, which have no hash: equal definitions need equal hashes, no more.
        return hash((type(self.link).__name__, self.link.name))


def transform(definition: Any) -> Transform:
    """The transformation of a definition with the methods `init` and `update`."""
    return Transform(definition.init, definition.update)


def technique(**example: Any) -> Callable[[Callable[..., Transform]], Callable[..., Transform]]:
    """Mark a public function as a technique, with arguments that the tests may call it with."""

    def mark(function: Callable[..., Transform]) -> Callable[..., Transform]:
        function.example = example  # pyright: ignore
        return function

    return mark


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tracer):
        return False
    if isinstance(a, (jax.Array, np.ndarray)):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, Transform):
        return a == b
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return all(_same(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return bool(a == b)


def forwarding(tx: Any) -> Any:
    """A transformation that takes extra arguments. `optax.MultiSteps` does already, though it is no tuple."""
    return optax.with_extra_args_support(tx) if isinstance(tx, optax.GradientTransformation) else tx


def ours(tx: Any) -> bool:
    """Whether this transformation has a definition of ours, which steps in float32 and knows its numbers."""
    return isinstance(tx, Transform) and hasattr(tx.link, "step")


def names(tx: Any) -> list[str]:
    """The dotted names that `hyper` may override; a transformation of optax's has none."""
    return tx.link.names() if ours(tx) else []


def widened(tree: Any) -> Any:
    """The floating leaves in float32 or wider, so that what optax's transformations keep is in float32 too."""
    return jax.tree.map(lambda x: wide(x) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating) else x, tree)


def step(tx: Any, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
    """One update of any transformation that stays in float32 or wider, its new state, and its metrics.

    A transformation of optax's must have been initialized with `widened` parameters.
    """
    if ours(tx):
        return tx.link.step(updates, state, params, extra)
    new, state = forwarding(tx).update(widened(updates), state, widened(params), **extra)
    return new, state, {}


def advance(tx: Any, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
    """The parameters and the state after one step of a transformation that stands within another."""
    require_taken(getattr(tx, "link", None), updates)
    if hasattr(getattr(tx, "link", None), "apply"):
        return tx.link.apply(updates, state, params, **extra)
    new, state, _ = step(tx, updates, state, params, extra)
    return jax.tree.map(add_update, params, new), state


def add_update(p: Any, u: Any) -> Any:
    """The parameter after an update: the sum is rounded once, to the parameter's dtype."""
    return (wide(p) + wide(u)).astype(jnp.asarray(p).dtype)


def apply(tx: optax.GradientTransformation, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
    """Take one step: the new parameters and the new state of any optax transformation.

    For a transformation of optax's this is `update` followed by `apply_updates`. Those of ours that can do better with
    the parameters at hand (a chain adds its float32 update before the one rounding) do so here.

    Donate the buffers of a compiled step in the order of its results, `step(params, state, ...) -> params, state` with
    `donate_argnums=(0, 1)`: JAX pairs them in order, and copies what it pairs wrongly.

    Args:
        tx: any optax transformation.
        grads: gradients with the structure of `params`.
        state: what `tx.init(params)` or the last step returned.
        params: the parameters.
        **extra: extra arguments, such as `hyper={"lr.learning_rate": 1e-4}` for a chain.
    """
    require_taken(getattr(tx, "link", None), grads)
    if hasattr(getattr(tx, "link", None), "apply"):
        return tx.link.apply(grads, state, params, **extra)  # pyright: ignore
    updates, state = forwarding(tx).update(grads, state, params, **extra)
    return optax.apply_updates(params, updates), state


def row_tables(tx: optax.GradientTransformation) -> tuple[str, ...]:
    """The patterns of the tables whose gradients a transformation takes as rows, such as those of `oc.rows`; or none.

    Args:
        tx: any optax transformation.
    """
    link: Any = getattr(tx, "link", None)
    if not getattr(link, "takes_rows", False):
        return ()
    return link.tables if hasattr(link, "tables") else row_tables(link.inner)


def shardings(tx: optax.GradientTransformation, params: Any) -> Any:
    """The sharding of every array of `tx.init(params)`, for `out_shardings`.

    A slot with the shape of its parameter, or with the first of its axes (one number for each row), is laid out as the
    parameter; everything else is replicated on its devices.

    Args:
        tx: any optax transformation.
        params: arrays, or `jax.ShapeDtypeStruct`s with a sharding.

    Raises:
        ValueError: a parameter without a sharding.
    """
    for path, p in jax.tree.leaves_with_path(params):
        if getattr(p, "sharding", None) is None:
            raise ValueError(f"parameter {path_of(path)!r} has no sharding; place the parameters first")
    layouts = {p.sharding for p in jax.tree.leaves(params)}
    meshes = {layout.mesh for layout in layouts if isinstance(layout, jax.NamedSharding)}
    if len(meshes) > 1:
        raise ValueError(f"the parameters live on {len(meshes)} meshes; their state has no common layout")
    replicated = jax.NamedSharding(meshes.pop(), jax.P()) if meshes else next(iter(layouts), None)

    def layout(slot: Any, p: Any) -> Any:
        if left_out(slot):
            return slot
        if slot.shape == p.shape:
            return p.sharding
        if slot.ndim and slot.shape == p.shape[: slot.ndim] and isinstance(p.sharding, jax.NamedSharding):
            return jax.NamedSharding(p.sharding.mesh, jax.P(*p.sharding.spec[: slot.ndim]))
        return replicated

    state = jax.eval_shape(tx.init, params)
    return optax.tree.map_params(
        tx,
        layout,
        state,
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=left_out,
    )
