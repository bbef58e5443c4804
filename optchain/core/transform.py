"""What a user holds: an optax transformation whose two functions are the bound methods of a definition."""

import functools
from typing import Any

import jax
import numpy as np
import optax
from jax.core import Tracer

from optchain.core.door import no_rows, rounded_sum, widened
from optchain.core.foreign import require_elementwise
from optchain.core.misfit import require_same_shapes
from optchain.core.paths import named_leaves
from optchain.core.row_gradient import is_row_gradient
from optchain.core.shards import require_whole

Tx = optax.GradientTransformation


class Transform(optax.GradientTransformationExtraArgs):
    """An optax transformation that knows its definition, a frozen dataclass (`Dense`, `Chain`, ...) found as `link`.

    So a transformation survives `_replace`, tree maps, pickling and deep copies, prints, and equals another one of the
    same definition.
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
    """The transformation of a definition."""
    return Transform(definition.init, definition.update)


def ours(tx: Any) -> bool:
    """Whether this transformation has a definition."""
    return isinstance(tx, Transform)


def definition_of(tx: Any) -> Any:
    """The definition of a transformation; None for one of optax, which has none."""
    return tx.link if isinstance(tx, Transform) else None


def start(tx: Any, params: Any) -> Any:
    """The state of any transformation within another; optax's keep float32 or wider."""
    return tx.link.start(params) if isinstance(tx, Transform) else tx.init(widened(params))


def step(tx: Any, updates: Any, state: Any, params: Any, given: Any) -> Any:
    """One update of any transformation within another, in float32 or wider; its new state, and its metrics."""
    if isinstance(tx, Transform):
        link: Any = tx.update.__self__  # pyright: ignore
        if link.mixes:
            require_whole(link, updates, params)
        result = link.step(updates, state, params, given)
    else:
        result = _optax_update(tx, updates, state, params, given)
    if given.told is not None:
        given.told(tx, updates, result[0])
    return result


def propose(tx: Any, grads: Any, state: Any, params: Any, given: Any) -> Any:
    """As `step`, for gradients and parameters in their own dtypes."""
    if isinstance(tx, Transform):
        link = tx.link
        if link.mixes:
            require_whole(link, grads, params)
        result = link.propose(grads, state, params, given)
    else:
        result = _optax_update(tx, widened(grads), state, widened(params), given)
    if given.told is not None:
        given.told(tx, grads, result[0])
    return result


def advance(tx: Any, grads: Any, state: Any, params: Any, given: Any) -> Any:
    """The parameters and the state after one step of any transformation within another, and its metrics."""
    if isinstance(tx, Transform):
        link = tx.link
        if link.mixes:
            require_whole(link, grads, params)
        return link.advance(grads, state, params, given)
    updates, state, metrics = propose(tx, grads, state, params, given)
    return rounded_sum(params, updates), state, metrics


def moving(tx: Any, params: Any) -> Any:
    """The parameters with holes for those that a transformation never moves."""
    return tx.link.moving(params) if isinstance(tx, Transform) else params


def takes(tx: Any) -> frozenset[str]:
    """What else than arrays like the parameters a transformation takes for gradients; optax's may take examples."""
    return tx.link.takes() if isinstance(tx, Transform) else frozenset({"examples"})


def forwarding(tx: Any) -> Any:
    """A transformation that takes extra arguments. `optax.MultiSteps` does already, though it is no tuple."""
    return optax.with_extra_args_support(tx) if isinstance(tx, Tx) else tx


def apply(tx: optax.GradientTransformation, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
    """Take one step: the new parameters and the new state of any optax transformation.

    For a transformation of optax this is `update` followed by `apply_updates`. A transformation of optchain that can do
    better with the parameters at hand (a chain adds its float32 update before the one rounding) does so here.

    Donate the buffers of a compiled step in the order of its results, `step(params, state, ...) -> params, state` with
    `donate_argnums=(0, 1)`: JAX pairs them in order, and copies what it pairs wrongly.

    Args:
        tx: any optax transformation.
        grads: gradients with the structure of `params`.
        state: what `tx.init(params)` or the last step returned.
        params: the parameters.
        **extra: extra arguments, such as `hyper={"lr.learning_rate": 1e-4}` for a chain.
    """
    if isinstance(tx, Transform):
        return tx.link.apply(grads, state, params, **extra)
    for leaf, g in named_leaves(grads, is_row_gradient):
        if is_row_gradient(g):
            raise no_rows("a transformation of optax", leaf)
    updates, state = forwarding(tx).update(grads, state, params, **extra)
    return optax.apply_updates(params, updates), state


def _optax_update(tx: Any, updates: Any, state: Any, params: Any, given: Any) -> Any:
    """The update of a transformation that has no definition, in float32 or wider, its new state, and no metrics."""
    for leaf, g in given.unmovable:
        if jax.numpy.iscomplexobj(g):
            raise ValueError(f"leaf {leaf!r} is {g.dtype}: optchain moves real parameters; use optax alone for it")
    extra = given.forwarded(state)
    require_elementwise(lambda *trees: forwarding(tx).update(*trees, **extra), updates, state, params)
    new, after = forwarding(tx).update(updates, state, params, **extra)
    require_same_shapes(state, after)
    return widened(new), after, {}


def _same(a: Any, b: Any) -> bool:
    """Whether two definitions, or fields of them, say the same."""
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tracer):
        return False
    if isinstance(a, (jax.Array, np.ndarray)):
        if a.dtype == b.dtype and jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, Transform):
        return a == b
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, functools.partial):  # which equals no copy of itself
        return _same((a.func, a.args, a.keywords), (b.func, b.args, b.keywords))
    if hasattr(a, "__dataclass_fields__"):
        return all(_same(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return bool(a == b)
