"""Accumulation, guards and other wrappers, and the numbers that schedules see."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks.defects.defect import Pair, defect
from experiments.benchmarks.defects.precision import steps


@defect(
    "accumulation over 2: the parameter after one NaN micro-batch and three of gradient 1, rate 0.1", "0.8, 1 dropped"
)
def bad_micro_batch() -> Pair:
    params, good = jnp.ones(1), jnp.ones(1)
    grads = [good * jnp.nan, good, good, good]

    def theirs() -> Any:
        after, _ = steps(optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(), params, grads)
        return round(float(after[0]), 4)

    def ours() -> Any:
        after, state = steps(oc.accumulate(oc.sgd(0.1), 2), params, grads)
        return f"{float(after[0]):.4g}, {int(state['accumulate']['dropped'])} dropped"

    return Pair(theirs, ours, lambda x: x == "0.8, 1 dropped")


def _infinite_on_zero() -> Any:
    return optax.stateless(lambda updates, params: jax.tree.map(lambda g: g / jnp.where(g == 1, 1.0, 0.0), updates))


@defect("accumulation over 2 of gradients 0 and 2, a law that is infinite unless their mean comes in", "0, then 1")
def leak_between_steps() -> Pair:
    params, grads = jnp.zeros(1), [jnp.zeros(1), jnp.full(1, 2.0)]

    def updates(tx: Any) -> str:
        state, values = tx.init(params), []
        for g in grads:
            u, state = tx.update(g, state, params)
            values.append(f"{float(u[0]):g}")
        return ", then ".join(values)

    return Pair(
        lambda: updates(optax.MultiSteps(_infinite_on_zero(), 2).gradient_transformation()),
        lambda: updates(oc.accumulate(_infinite_on_zero(), 2)),
        lambda x: x == "0, then 1",
    )


@defect("accumulation over 8, 16 micro-batches: how often a matrix method runs", "2")
def runs_of_the_inner_update() -> Pair:
    def counted(wrap: Any) -> int:
        runs = []

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            jax.debug.callback(lambda: runs.append(None))
            return updates, state

        tx = wrap(optax.GradientTransformation(lambda params: (), update))
        steps(tx, jnp.ones((2, 2)), [jnp.ones((2, 2))] * 16)
        jax.effects_barrier()
        return len(runs)

    return Pair(
        lambda: counted(lambda tx: optax.MultiSteps(tx, 8).gradient_transformation()),
        lambda: counted(lambda tx: oc.accumulate(tx, 8)),
        lambda x: x == 2,
    )


@defect("accumulation as a link of a chain: the extra argument `value` for the link within", "arrives")
def extra_arguments_through_accumulation() -> Pair:
    def arrives(chain: Any, accumulate: Any) -> str:
        seen = []

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
            seen.append("value" in extra)
            return updates, state

        inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
        tx = chain(accumulate(inner), optax.scale(-0.1))
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1), value=jnp.ones(()))
        return "arrives" if seen and all(seen) else "is dropped"

    return Pair(
        lambda: arrives(optax.chain, lambda tx: optax.MultiSteps(tx, 2).gradient_transformation()),
        lambda: arrives(oc.chain, lambda tx: oc.accumulate(tx, 2)),
        lambda x: x == "arrives",
    )


@defect("a norm that is watched, within a scan", "runs")
def watched_norms() -> Pair:
    params, grads = jnp.ones(2), jnp.ones((3, 2))

    def scanned(tx: Any) -> str:
        start = tx.init(params)
        jax.lax.scan(lambda s, g: (tx.update(g, s, params)[1], None), start, grads)
        return "runs"

    return Pair(
        lambda: scanned(optax.chain(optax.sgd(0.1), optax.monitor({"norm": optax.tree.norm}))),
        lambda: scanned(oc.chain(oc.sgd(0.1), watch=True)),
        lambda x: x == "runs",
    )


@defect("a snapshot of the update, float32 parameters, bfloat16 gradients: dtype before and after", "the same")
def snapshot_dtype() -> Pair:
    params, grads = jnp.ones(2), jnp.ones(2, jnp.bfloat16)

    def dtypes(tx: Any) -> Any:
        state = tx.init(params)
        after = tx.update(grads, state, params)[1]
        return tuple(sorted({str(x.dtype) for x in jax.tree.leaves(s) if x.ndim}) for s in (state, after))

    snapshot = optax.snapshot("seen", lambda updates: updates)
    return Pair(lambda: dtypes(snapshot), lambda: dtypes(oc.chain(seen=snapshot)), lambda x: x[0] == x[1])


@defect("plateau on a loss that falls from -1 to -2 and stays: the scale after 30 steps", "below 1")
def plateau_on_a_negative_loss() -> Pair:
    params = jnp.ones(1)
    losses = jnp.concatenate([jnp.linspace(-1.0, -2.0, 5), jnp.full(25, -2.0)])

    def scales(tx: Any, read: Any) -> float:
        def step(state: Any, value: Any) -> Any:
            updates, state = tx.update(params, state, params, value=value)
            return state, read(updates)

        return float(jax.lax.scan(step, tx.init(params), losses)[1][-1])

    return Pair(
        lambda: scales(optax.contrib.reduce_on_plateau(0.5, patience=3), lambda u: u[0]),
        lambda: scales(oc.scale_on_plateau(0.5, patience=3), lambda u: u[0]),
        lambda x: x < 1,
    )


@defect("another learning rate: programs compiled", "1")
def programs_for_another_rate() -> Pair:
    params = jnp.ones(4)

    def theirs() -> int:
        texts = {
            jax.jit(optax.adamw(rate).update).lower(params, optax.adamw(rate).init(params), params).as_text()
            for rate in (1e-3, 1e-2)
        }
        return len(texts)

    def ours() -> int:
        tx = oc.adamw(1e-3)
        update = jax.jit(lambda g, s, p, rate: tx.update(g, s, p, hyper={"lr.learning_rate": rate}))
        return len({update.lower(params, tx.init(params), params, rate).as_text() for rate in (1e-3, 1e-2)})

    return Pair(theirs, ours, lambda x: x == 1)


@defect("schedule_free: the first step reads the schedule at", "0")
def schedule_free_reads_the_schedule() -> Pair:
    def first(make: Any, sgd: Any) -> int:
        seen = []

        def schedule(step: Any) -> Any:
            jax.debug.callback(lambda step: seen.append(int(step)), step)
            return jnp.asarray(0.1)

        tx = make(sgd(0.1), schedule)
        state = tx.init(jnp.ones(1))
        jax.effects_barrier()
        seen.clear()
        tx.update(jnp.ones(1), state, jnp.ones(1))
        jax.effects_barrier()
        return seen[0]

    return Pair(
        lambda: first(optax.contrib.schedule_free, optax.sgd),
        lambda: first(oc.schedule_free, oc.sgd),
        lambda x: x == 0,
    )
