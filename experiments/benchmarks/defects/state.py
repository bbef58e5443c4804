"""The state: read, saved, restored and changed; masks and groups."""

from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optchain as oc
from experiments.benchmarks.defects.defect import Pair, defect
from experiments.benchmarks.defects.precision import steps


@defect("read the learning rates of two groups from the state", "0.01 and 0.1")
def rates_of_two_groups() -> Pair:
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}

    def theirs() -> Any:
        make = optax.inject_hyperparams(optax.sgd)
        tx = optax.partition({"slow": make(0.01), "fast": make(0.1)}, {"a": "slow", "b": "fast"})
        return float(optax.tree.get(steps(tx, params, [params])[1], "learning_rate"))

    def ours() -> Any:
        tx = oc.groups(oc.sgd(0.01), {"b": oc.sgd(0.1), "*": {}})
        metrics = oc.metrics(steps(tx, params, [params])[1])
        rates = sorted(float(x) for name, x in metrics.items() if name.endswith("learning_rate"))
        return " and ".join(f"{rate:g}" for rate in rates)

    return Pair(theirs, ours, lambda x: x == "0.01 and 0.1")


@defect("a checkpoint made at rate 0.5, restored at 0.001: the rate of the next step", "0.001")
def rate_after_restore() -> Pair:
    params = jnp.ones(2)

    def theirs() -> float:
        old, new = (optax.inject_hyperparams(optax.sgd)(rate) for rate in (0.5, 0.001))
        restored = steps(old, params, [params])[1]
        return round(float(new.update(params, restored, params)[1].hyperparams["learning_rate"]), 6)

    def ours() -> float:
        old, new = oc.sgd(0.5), oc.sgd(0.001)
        saved = oc.without_metrics(steps(old, params, [params])[1])
        after = new.update(params, oc.with_metrics(saved, new.init(params)), params)[1]
        return round(float(oc.metrics(after)["lr.learning_rate"]), 6)

    return Pair(theirs, ours, lambda x: x == 0.001)


@defect("two momentum links (0.9 and 0.5) reordered, then restored: whose moments each has", "its own, or an error")
def reordered_links() -> Pair:
    params, grads = jnp.zeros(1), [jnp.ones(1)] * 3

    def theirs() -> str:
        fast, slow = optax.trace(0.9), optax.trace(0.5)
        saved = flax.serialization.to_bytes(steps(optax.chain(fast, slow), params, grads)[1])
        turned = optax.chain(slow, fast)
        restored = flax.serialization.from_bytes(turned.init(params), saved)
        own = steps(optax.chain(slow), params, grads)[1][0].trace
        return "its own" if np.allclose(restored[0].trace, own) else "the other's, silently"

    def ours() -> str:
        fast, slow = oc.trace(0.9), oc.trace(0.5)
        state = steps(oc.chain(fast=fast, slow=slow), params, grads)[1]
        saved = flax.serialization.msgpack_restore(flax.serialization.to_bytes(oc.without_metrics(state)))
        moved, _ = oc.migrate_state(saved, oc.chain(slow=slow, fast=fast), params)
        pairs = [[s["links"][name]["trace"]["trace"] for s in (moved, state)] for name in ("fast", "slow")]
        same = all(np.array_equal(*pair) for pair in pairs)
        return "its own" if same else "the other's, silently"

    return Pair(theirs, ours, lambda x: x == "its own")


@defect("a link is added to a chain, then its checkpoint restored", "moments kept, the link new")
def added_link() -> Pair:
    params, grads = jnp.zeros(2), [jnp.ones(2)] * 3

    def theirs() -> str:
        saved = flax.serialization.to_bytes(steps(optax.chain(optax.scale_by_adam()), params, grads)[1])
        longer = optax.chain(optax.trace(0.9), optax.scale_by_adam())
        flax.serialization.from_bytes(longer.init(params), saved)
        return "moments kept, the link new"

    def ours() -> str:
        state = steps(oc.chain(adam=oc.scale_by_adam()), params, grads)[1]
        longer = oc.chain(trace=oc.trace(0.9), adam=oc.scale_by_adam())
        moved, _ = oc.migrate_state(oc.without_metrics(state), longer, params)
        kept = np.array_equal(*(s["links"]["adam"]["scale_by_adam"]["mu"] for s in (moved, state)))
        return (
            "moments kept, the link new" if kept and not moved["links"]["trace"]["trace"]["count"] else "something else"
        )

    return Pair(theirs, ours, lambda x: x.startswith("moments kept"))


@defect("a chain of named links through Flax's to_bytes and back", "the same state")
def named_links_in_msgpack() -> Pair:
    params = {"w": jnp.ones(2)}

    def through(tx: Any) -> str:
        saved = flax.serialization.to_bytes(tx.init(params))
        flax.serialization.from_bytes(tx.init(params), saved)
        return "the same state"

    return Pair(
        lambda: through(optax.named_chain(("adam", optax.scale_by_adam()), ("lr", optax.scale(-0.1)))),
        lambda: through(oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1))),
        lambda x: x == "the same state",
    )


@defect("a group that no parameter belongs to", "an error that names it")
def unused_group() -> Pair:
    params = {"dense": jnp.ones(2)}

    def told(make: Any) -> str:
        try:
            make().init(params)
        except ValueError as error:
            return f"error: {str(error)[:60]}" if "densse" in str(error) else "another error"
        return "silence"

    def theirs() -> Any:
        return optax.partition({"densse": optax.sgd(0.1), "rest": optax.sgd(0.2)}, {"dense": "rest"})

    def ours() -> Any:
        return oc.groups(oc.sgd(0.2), {"densse": {"learning_rate": 0.5}, "*": {}})

    return Pair(lambda: told(theirs), lambda: told(ours), lambda x: x.startswith("error"))


@defect("a mask made from nnx.state(model), in nnx.Optimizer", "runs")
def mask_from_nnx() -> Pair:
    def trained(make: Any) -> str:
        model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        mask = jax.tree.map(lambda x: x.ndim > 1, nnx.state(model, nnx.Param))
        optimizer = nnx.Optimizer(model, make(mask), wrt=nnx.Param)
        optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(jnp.ones((1, 2))) ** 2))(model))
        return "runs"

    return Pair(
        lambda: trained(lambda mask: optax.adamw(1e-3, mask=mask)),
        lambda: trained(lambda mask: oc.adamw(1e-3, mask=mask)),
        lambda x: x == "runs",
    )


@defect("weights pruned to 0 in the middle of a run of Adam: the largest of them 50 steps later", "0")
def pruned_weights() -> Pair:
    def largest(tx: Any, hold: Any) -> float:
        params, pruned = jnp.linspace(0.5, 1.5, 8), jnp.arange(8) < 4
        params, state = _stepped(tx, params, tx.init(params), lambda g: g)
        params = jnp.where(pruned, 0.0, params)
        params, _ = _stepped(tx, params, state, lambda g: hold(g, pruned))
        return float(jnp.max(jnp.abs(jnp.where(pruned, params, 0.0))))

    return Pair(
        lambda: largest(optax.adam(0.01), lambda g, pruned: jnp.where(pruned, 0.0, g)),
        lambda: largest(
            oc.chain(oc.adam(0.01), oc.sparse_update(oc.scale(1.0), indicator=lambda g, p: p != 0)),
            lambda g, pruned: g,
        ),
        lambda x: x == 0,
    )


def _stepped(tx: Any, params: Any, state: Any, change: Any) -> Any:
    for _ in range(50):
        params, state = oc.apply(tx, change(params), state, params)
    return params, state
