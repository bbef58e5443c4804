"""Low precision: norms, numbers, moments and updates that round to nothing."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks.defects.defect import Pair, defect


def steps(tx: Any, params: Any, grads: list[Any]) -> Any:
    """The parameters and the state after compiled steps, as either library takes them."""
    state = tx.init(params)
    step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    for g in grads:
        params, state = step(g, state, params)
    return params, state


@defect("global norm of 1,000 bfloat16 leaves, each of norm 1", "31.62")
def norm_of_many_leaves() -> Pair:
    leaves = [jnp.full((4,), 0.5, jnp.bfloat16)] * 1000

    def ours() -> float:
        tx = oc.chain(clip=oc.clip_by_global_norm(1e9))
        return float(oc.metrics(tx.update(leaves, tx.init(leaves))[1])["clip.norm"])

    return Pair(lambda: float(optax.tree.norm(leaves)), ours, lambda x: abs(x - math.sqrt(1000)) < 1e-4)


@defect("clip to norm 1 float16 gradients whose norm overflows", "[0.5 0.5 0.5 0.5]")
def overflowing_norm() -> Pair:
    grads = jnp.full((4,), 6e4, jnp.float16)

    def clipped(make: Any) -> Any:
        tx = make(1.0)
        return tx.update(grads, tx.init(grads))[0]

    return Pair(
        lambda: clipped(optax.clip_by_global_norm),
        lambda: clipped(oc.clip_by_global_norm),
        lambda x: bool(jnp.all(x == 0.5)),
    )


@defect("AdamW with injected numbers on bfloat16 parameters: b2, and the first parameters", "0.999, finite")
def injected_numbers() -> Pair:
    params = {"w": jnp.ones(3, jnp.bfloat16)}

    def theirs() -> Any:
        after, state = steps(optax.inject_hyperparams(optax.adamw)(1e-3), params, [params])
        return float(state.hyperparams["b2"]), bool(jnp.all(jnp.isfinite(after["w"])))

    def ours() -> Any:
        after, state = steps(oc.adamw(1e-3), params, [params])
        return round(float(oc.metrics(state)["adam.b2"]), 6), bool(jnp.all(jnp.isfinite(after["w"])))

    return Pair(theirs, ours, lambda x: x == (0.999, True))


@defect("float32 numbers, bfloat16 parameters: dtype of mu before and after a step", "the same")
def slot_dtype() -> Pair:
    params = {"w": jnp.ones(3, jnp.bfloat16)}

    def dtypes(tx: Any) -> Any:
        state = tx.init(params)
        after = jax.jit(tx.update)(params, state, params)[1]
        return tuple(str(optax.tree.get(s, "mu")["w"].dtype) for s in (state, after))

    b1 = jnp.float32(0.9)
    return Pair(
        lambda: dtypes(optax.scale_by_adam(b1=b1)), lambda: dtypes(oc.scale_by_adam(b1=b1)), lambda x: x[0] == x[1]
    )


@defect("bfloat16 parameters, float32 gradients: three steps within a scan", "runs")
def mixed_dtypes_in_a_scan() -> Pair:
    params, grads = {"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.ones((3, 3))}

    def scanned(tx: Any) -> str:
        def step(carry: Any, g: Any) -> Any:
            updates, state = tx.update(g, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        jax.lax.scan(step, (params, tx.init(params)), grads)
        return "runs"

    return Pair(lambda: scanned(optax.adam(0.1)), lambda: scanned(oc.adam(0.1)), lambda x: x == "runs")


@defect("second moment of bfloat16 parameters, gradients 1 (50 times), then 0.01 (3,000 times)", "0.00253")
def frozen_second_moment() -> Pair:
    exact = 0.0
    for g in [1.0] * 50 + [0.01] * 3000:
        exact = 0.999 * exact + 0.001 * float(jnp.bfloat16(g)) ** 2

    def moment(tx: Any) -> float:
        params = jnp.ones(1, jnp.bfloat16)
        grads = jnp.concatenate([jnp.ones((50, 1)), jnp.full((3000, 1), 0.01)]).astype(jnp.bfloat16)
        scanned = jax.jit(lambda s: jax.lax.scan(lambda s, g: (tx.update(g, s, params)[1], None), s, grads)[0])
        return float(optax.tree.get(scanned(tx.init(params)), "nu")[0])

    return Pair(
        lambda: moment(optax.scale_by_adam()),
        lambda: moment(oc.scale_by_adam()),
        lambda x: abs(x - exact) < 1e-3 * exact,
    )


@defect("a bfloat16 parameter 1.0 after 1,000 steps of -1e-3, and lost updates seen", "near 0, counted")
def lost_updates() -> Pair:
    params, grads = jnp.ones(64, jnp.bfloat16), jnp.ones((1000, 64), jnp.bfloat16)

    def trained(tx: Any) -> Any:
        def step(carry: Any, g: Any) -> Any:
            params, state = oc.apply(tx, g, carry[1], carry[0])
            return (params, state), state

        (after, _), states = jax.jit(lambda c: jax.lax.scan(step, c, grads))((params, tx.init(params)))
        return float(jnp.mean(after.astype(jnp.float32))), states

    def theirs() -> Any:
        return round(trained(optax.sgd(1e-3))[0], 3), "no way to see"

    def ours() -> Any:
        after, states = trained(oc.precision(oc.sgd(1e-3), params="stochastic", watch=True))
        return round(after, 3), f"{int(states['precision']['lost'][0])} of 64 at step 1"

    return Pair(theirs, ours, lambda x: abs(x[0]) < 0.02 and x[1].startswith("64"))


@defect("float16, zero gradient: Adam's parameters under a guard", "finite")
def zero_gradient_in_float16() -> Pair:
    params = jnp.ones(3, jnp.float16)

    def trained(tx: Any) -> str:
        after, _ = steps(tx, params, [jnp.zeros_like(params)])
        return "finite" if bool(jnp.all(jnp.isfinite(after))) else str(after)

    return Pair(
        lambda: trained(optax.apply_if_finite(optax.adam(0.1), 3)),
        lambda: trained(oc.guard(oc.adam(0.1), check_outputs=True)),
        lambda x: x == "finite",
    )
