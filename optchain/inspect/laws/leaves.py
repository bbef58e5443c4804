"""Leaves that are not ours to move: they come out as they are, and cost nothing."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from optchain.control.accumulate import accumulate
from optchain.control.extra_means import require_means
from optchain.control.guard import guard
from optchain.core.transform import apply, ours
from optchain.inspect.laws.check import Broken, law
from optchain.inspect.laws.steps import bytes_of, every_extra, gradients, require_close
from optchain.masking.groups import groups
from optchain.masking.rules import FROZEN


@law
def foreign_leaves(tx: Any, params: Any) -> None:
    """Integers, keys, complex numbers, functions and None without a gradient come out as they are and cost no state."""
    strange = {"some": params, "strange": _strangers()}
    grads = {"some": gradients(params), "strange": dict.fromkeys(_strangers())}
    alone, some = {"some": params}, {"some": grads["some"]}
    updates = _untouched(tx, strange, grads, "strange")
    expected, _ = tx.update(some, tx.init(alone), alone, **every_extra())
    require_close("the update of the other leaves ", updates["some"], expected["some"], 0, 0)
    _require_bytes(tx.init(strange), tx.init(alone))


@law
def gradients_of_none(tx: Any, params: Any) -> None:
    """A parameter whose gradient is None comes out as it is."""
    still = {"some": params, "still": params}
    _untouched(tx, still, {"some": gradients(params), "still": jax.tree.map(lambda _: None, params)}, "still")


@law
def gradients_of_float0(tx: Any, params: Any) -> None:
    """An integer whose gradient is float0, as `jax.grad(allow_int=True)` makes it, comes out as it is."""
    counted = {"some": params, "count": jnp.array([16777217])}
    nothing = np.zeros((1,), jax.dtypes.float0)
    _untouched(tx, counted, {"some": gradients(params), "count": nothing}, "count")


@law
def integers_with_gradients(tx: Any, params: Any) -> None:
    """An integer that is asked to move is an error that names its leaf, unless a mask leaves it out."""
    counted = {"some": params, "count": jnp.array([16777217])}
    grads = {"some": gradients(params), "count": jnp.array([1])}
    made = []
    try:
        jax.eval_shape(lambda: made.append(tx.update(grads, tx.init(counted), counted, **every_extra())[0]["count"]))
    except ValueError as error:
        if "count" not in str(error):
            raise Broken(f"the error does not name the leaf: {error}") from None
        return
    _require_same("the update of an int32", made[0], grads["count"])


@law
def empty_arrays(tx: Any, params: Any) -> None:
    """Arrays without entries pass, and change no other leaf."""
    grads = gradients(params)
    empty = {"matrix": jnp.zeros((0, 3)), "rows": jnp.zeros((3, 0)), "vector": jnp.zeros(0)}
    both, alone = {"some": params, "empty": empty}, {"some": params}
    updates, _ = tx.update({"some": grads, "empty": empty}, tx.init(both), both, **every_extra())
    if jax.tree.map(jnp.shape, updates["empty"]) != jax.tree.map(jnp.shape, empty):
        raise Broken(f"the updates of empty arrays have shapes {jax.tree.map(jnp.shape, updates['empty'])}")
    expected, _ = tx.update({"some": grads}, tx.init(alone), alone, **every_extra())
    require_close("the update of the other leaves ", updates["some"], expected["some"], 0, 0)


@law
def frozen_leaves(tx: Any, params: Any) -> None:
    """What a group freezes comes out as it is and costs no state, within a guard and accumulation too."""
    frozen = {"array": jnp.ones(1000), "count": jnp.array([16777217]), "key": jax.random.PRNGKey(123456789)}
    both = {"some": params, "frozen": frozen}
    grads = {"some": gradients(params), "frozen": jax.tree.map(jnp.ones_like, frozen)}
    wrapped, extra = _guarded(groups(tx, {"frozen/*": FROZEN, "*": {}}))

    def step() -> None:
        state = wrapped.init(both)
        after, _ = apply(wrapped, grads, state, both, **extra)
        _require_same("the parameters", after["frozen"], frozen)
        alone, _ = _guarded(groups(tx, {"*": {}}))
        _require_bytes(state, alone.init({"some": params}))

    jax.eval_shape(step)


def _guarded(tx: Any) -> tuple[Any, dict[str, Any]]:
    """The transformation within a guard, and accumulation unless that refuses it, and the extra arguments for it."""
    try:
        require_means("accumulate", tx)
    except ValueError:
        return guard(tx), every_extra()
    return guard(accumulate(tx, 2)), {name: x for name, x in every_extra().items() if not callable(x)}


def _strangers() -> dict[str, Any]:
    return {
        "count": jnp.array([16777217]),  # float32 has no such number
        "old_key": jax.random.PRNGKey(123456789),
        "key": jax.random.key(0),
        "flag": jnp.array(True),
        "complex": jnp.array(1 + 2j),
        "function": jax.nn.relu,
        "none": None,
    }


def _untouched(tx: Any, params: Any, grads: Any, name: str) -> Any:
    """The updates of one step, in which one branch of the tree has come out as it went in."""
    updates, _ = tx.update(grads, tx.init(params), params, **every_extra())
    _require_same("the update", updates[name], grads[name])
    if ours(tx):  # `optax.apply_updates` has no way to leave a parameter alone
        after, _ = apply(tx, grads, tx.init(params), params, **every_extra())
        _require_same("the parameter", after[name], params[name])
    return updates


def _require_same(what: str, result: Any, expected: Any) -> None:
    """Two branches hold the same objects, or arrays that are equal to the bit."""
    leaves, treedef = jax.tree.flatten_with_path(expected, is_leaf=lambda x: x is None)
    for (path, y), x in zip(leaves, treedef.flatten_up_to(result), strict=True):
        if x is not y and not _equal(x, y):
            raise Broken(f"{what}{jax.tree_util.keystr(path)} was {y!r} and is {x!r}")


def _equal(x: Any, y: Any) -> bool:
    concrete = all(isinstance(a, (jax.Array, np.ndarray)) and not isinstance(a, jax.core.Tracer) for a in (x, y))
    return concrete and x.dtype == y.dtype and bool((x == y).all())


def _require_bytes(state: Any, alone: Any) -> None:
    more = bytes_of(state) - bytes_of(alone)
    if more:
        raise Broken(f"they take {more} bytes of state")
