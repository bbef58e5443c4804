"""Extra arguments within accumulation: those of one large batch, however its parts come."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import tree

import optchain as oc

WEIGHTS, VALUES = [1.0, 3.0], [4.0, 2.0]
MEAN = 2.5
READERS = {
    "polyak_sgd": lambda: oc.polyak_sgd(),
    "momo": lambda: oc.momo(0.5),
    "plateau": lambda: oc.chain(oc.sgd(0.1), oc.scale_on_plateau(0.5, patience=0)),
    "optax": lambda: optax.polyak_sgd(),
    "grouped": lambda: oc.groups(oc.sgd(0.1), {"bias": oc.polyak_sgd(), "scale": oc.FROZEN, "*": {}}),
    "guarded chain": lambda: oc.guard(oc.chain(clip=oc.clip(5.0), step=oc.momo_adam(0.1))),
    "accumulated": lambda: oc.accumulate(oc.polyak_sgd(), 1),
}


def weighted(*trees):
    return jax.tree.map(lambda a, b: (WEIGHTS[0] * a + WEIGHTS[1] * b) / sum(WEIGHTS), *trees)


def scanned(tx, params, grads, **extra):
    """The parameters and the state after a compiled scan over micro-batches."""
    stacked = jax.tree.map(lambda *xs: jnp.stack([jnp.asarray(x) for x in xs]), *grads)

    def step(carry, given):
        g, extra = given
        return oc.apply(tx, g, carry[1], carry[0], **extra), None

    extra = {name: jnp.asarray(x) if isinstance(x, list) else x for name, x in extra.items()}
    return jax.jit(lambda c, xs: jax.lax.scan(step, c, xs)[0])((params, tx.init(params)), (stacked, extra))


@pytest.mark.parametrize("name", READERS)
def test_the_loss_is_the_weighted_mean(name):
    grads, make = [tree(i) for i in (1, 2, 3, 4)], READERS[name]
    losses = [*VALUES, 3.0, 3.0]
    found, state = scanned(oc.accumulate(make(), 2), tree(0), grads, value=losses, weight=WEIGHTS * 2)
    large = [weighted(*grads[:2]), weighted(*grads[2:])]
    expected, _ = scanned(make(), tree(0), large, value=[MEAN, 3.0])
    chex.assert_trees_all_close(found, expected, rtol=2e-6, atol=2e-6)
    assert state["accumulate"]["emitted"] == 2


@pytest.mark.parametrize("tx", [oc.sophia(0.1), oc.guard(oc.groups(oc.adahessian(0.1), {"scale": oc.FROZEN, "*": {}}))])
def test_the_curvature_is_the_weighted_mean(tx):
    grads, curvatures = [tree(1), tree(2)], [tree(3), tree(4)]
    hessian = jax.tree.map(lambda *xs: jnp.stack(xs), *curvatures)
    found, _ = scanned(oc.accumulate(tx, 2), tree(0), grads, hessian=hessian, weight=WEIGHTS)
    large = jax.tree.map(lambda x: x[None], weighted(*curvatures))
    expected, _ = scanned(tx, tree(0), [weighted(*grads)], hessian=large)
    chex.assert_trees_all_close(found, expected, rtol=2e-5, atol=1e-6)


def test_a_curvature_reaches_the_step_from_any_micro_batch_and_no_other_step():
    tx, params = oc.chain(sophia=oc.scale_by_sophia()), tree(0)
    wrapped = oc.accumulate(tx, 2)
    step = jax.jit(lambda state, h: oc.apply(wrapped, params, state, params, hessian=h)[1])
    state = step(wrapped.init(params), tree(1))
    state = step(state, None)
    h = state["inner"]["links"]["sophia"]["scale_by_sophia"]["h"]
    chex.assert_trees_all_close(h, jax.tree.map(lambda x: 0.01 * x, tree(1)), rtol=1e-5)
    state = step(step(state, None), None)
    chex.assert_trees_all_equal(state["inner"]["links"]["sophia"]["scale_by_sophia"]["h"], h)
    assert state["accumulate"]["emitted"] == 2
    with pytest.raises(ValueError, match="accumulate: .*'bias' has shape"):
        step(state, {**tree(1), "bias": jnp.ones(7)})


def test_a_validation_loss_reaches_the_step_from_any_micro_batch():
    tx = oc.accumulate(oc.chain(plateau=oc.scale_on_plateau(0.5, patience=0)), 2)
    nan = jnp.nan
    heard = [nan, nan, 1.0, nan, nan, 1.0, nan, nan]
    _, state = scanned(tx, tree(0), [tree(1)] * 8, validation=heard, value=[0.0] * 8)
    plateau = state["inner"]["links"]["plateau"]["scale_on_plateau"]
    assert plateau["heard"] == 2 and plateau["factor"] == 0.5


def test_a_micro_batch_that_is_dropped_brings_no_loss_and_a_nan_does_not_last():
    tx, params = oc.accumulate(oc.chain(polyak=oc.scale_by_polyak(max_learning_rate=1e9)), 2), {"w": jnp.ones(1)}
    bad = {"w": jnp.full(1, jnp.nan)}
    _, state = scanned(tx, params, [bad, params], value=[jnp.nan, 3.0])
    assert oc.metrics(state)["polyak.step"] == 3
    _, state = scanned(tx, params, [params] * 4, value=[jnp.nan, 3.0, 1.0, 2.0])
    assert oc.metrics(state)["polyak.step"] == 1.5


def test_a_spike_of_the_mean_is_what_a_guard_within_sees():
    tx = oc.accumulate(oc.guard(oc.sgd(0.1), max_value=3.0), 2)
    _, state = scanned(tx, tree(0), [tree(1)] * 4, value=[5.0, 0.0, 5.0, 2.0])
    assert state["inner"]["guard"]["accepted"] == 1 and oc.REASONS[state["inner"]["guard"]["reason"]].startswith(
        "value"
    )


def test_a_float16_loss_is_averaged_in_float32():
    tx = oc.accumulate(oc.chain(polyak=oc.scale_by_polyak(max_learning_rate=1e9)), 2)
    params = {"w": jnp.ones(1)}
    _, state = scanned(tx, params, [params] * 2, value=jnp.array([6e4, 6e4], jnp.float16))
    assert oc.metrics(state)["polyak.step"] == np.float16(6e4)
    with pytest.raises(ValueError, match=r"`value` is a scalar, got the shape \(3,\)"):
        tx.update(params, tx.init(params), params, value=jnp.ones(3))


@pytest.mark.parametrize(
    "tx, message",
    [
        (oc.sam(oc.sgd(0.1)), "sam within it reads `grad_fn`, .*let it stand around: sam"),
        (oc.chain(oc.clip(1.0), oc.lookahead(oc.gsam(oc.sgd(0.1)), 2, 0.5)), "gsam within it reads `grad_fn`"),
        (oc.lbfgs(), "scale_by_zoom_linesearch within it reads `value_fn`"),
        (oc.guard(oc.muon_clip(0.1, {"*": -1})), "clip_qk within it reads `max_logits`, .*put it after: chain"),
    ],
)
def test_what_has_no_mean_is_refused(tx, message):
    for every in (2, lambda step: 2):
        with pytest.raises(ValueError, match=message):
            oc.accumulate(tx, every)
    oc.accumulate(tx, 1)


def test_a_function_is_not_handed_to_a_transformation_of_optax_that_may_call_it():
    tx, params = oc.accumulate(oc.chain(optax.scale(-0.1)), 2), tree(0)
    with pytest.raises(ValueError, match="`value_fn` is a function of the last micro-batch alone"):
        tx.update(params, tx.init(params), params, value_fn=lambda p: 0.0)
    ours = oc.accumulate(oc.sgd(0.1), 2)
    ours.update(params, ours.init(params), params, value_fn=lambda p: 0.0)


def test_sam_around_accumulates_the_second_gradients():
    params = {"w": jnp.array([1.0, 2.0])}
    grads = [{"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([0.0, 1.0])}]
    tx, state = oc.sam(oc.accumulate(oc.sgd(1.0), 2), rho=1.0), None
    state, moved = tx.init(params), params
    for g in grads:
        moved, state = oc.apply(tx, g, state, moved, grad_fn=lambda p: p)
    expected = params["w"] - (params["w"] + jnp.array([0.3, 0.9]))  # the mean of g / |g|
    chex.assert_trees_all_close(moved["w"], expected, atol=1e-6)


@pytest.mark.parametrize("outer", [lambda tx: tx, oc.guard, lambda tx: oc.chain(oc.clip(9.0), acc=tx)])
def test_a_partial_accumulation_is_emitted_on_request(outer):
    """Six micro-batches by fours: two steps, on the means of four and of two."""
    grads, tx = [tree(i) for i in range(1, 7)], outer(oc.accumulate(oc.adamw(0.01), 4))
    found, state = scanned(tx, tree(0), grads, emit=[False] * 5 + [True])
    mean = lambda *gs: jax.tree.map(lambda *xs: sum(xs) / len(xs), *gs)  # noqa: E731
    expected, _ = scanned(oc.adamw(0.01), tree(0), [mean(*grads[:4]), mean(*grads[4:])])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    shown = {name.rpartition("accumulate.")[2]: x for name, x in oc.metrics(state).items() if "accumulate." in name}
    assert shown["emitted"] == 2 and shown["micro"] == 0


def test_what_is_pending_can_be_emitted_without_another_micro_batch():
    tx, params = oc.accumulate(oc.sgd(1.0), 4), {"w": jnp.ones(2)}
    step = jax.jit(lambda state, params, g, **extra: oc.apply(tx, {"w": g}, state, params, **extra))
    moved, state = step(tx.init(params), params, jnp.array([1.0, 3.0]))
    moved, state = step(state, moved, jnp.zeros(2), weight=0.0, emit=True)
    np.testing.assert_allclose(moved["w"], [0.0, -2.0])
    moved, state = step(state, moved, jnp.zeros(2), weight=0.0, emit=True)  # nothing is pending
    np.testing.assert_allclose(moved["w"], [0.0, -2.0])
    assert state["accumulate"]["emitted"] == 1 and state["accumulate"]["micro"] == 0
    for _ in range(4):
        moved, state = step(state, moved, jnp.ones(2))
    np.testing.assert_allclose(moved["w"], [-1.0, -3.0])


def test_a_nested_accumulation_weighs_what_it_gets_by_all_that_is_in_it():
    tx, params = oc.accumulate(oc.accumulate(oc.sgd(1.0), 2), 2), {"w": jnp.zeros(1)}
    grads, weights = [{"w": jnp.full(1, x)} for x in (1.0, 2.0, 3.0, 4.0)], [1.0, 2.0, 3.0, 4.0]
    found, _ = scanned(tx, params, grads, weight=weights)
    np.testing.assert_allclose(found["w"], -3.0, rtol=1e-6)
    found, _ = scanned(tx, params, grads[:3], emit=[False, False, True])
    np.testing.assert_allclose(found["w"], -2.0, rtol=1e-6)


def test_a_partial_accumulation_of_rows_touches_those_that_were_looked_up():
    params = {"embedding": jnp.ones((5, 2))}
    tx = oc.accumulate(oc.rows(oc.sgd(1.0), "embedding"), 3, rows=1)

    def step(carry, given):
        index, emit = given
        grads = {"embedding": oc.RowGradient(index[None], jnp.ones((1, 2)), 5)}
        return oc.apply(tx, grads, carry[1], carry[0], emit=emit), None

    given = jnp.array([0, 1, 2, 3]), jnp.array([False, False, False, True])
    (moved, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, given))((params, tx.init(params)))
    np.testing.assert_allclose(moved["embedding"][:, 0], [2 / 3, 2 / 3, 2 / 3, 0.0, 1.0], rtol=1e-6)
    lazy = oc.accumulate(oc.rows(oc.adam(1.0), "embedding", mode="lazy"), 3, rows=1)
    state, moved = lazy.init(params), params
    for index, emit in ((0, False), (1, False), (2, False), (3, True)):
        grads = {"embedding": oc.RowGradient(jnp.array([index]), jnp.ones((1, 2)), 5)}
        before, (moved, state) = moved, oc.apply(lazy, grads, state, moved, emit=emit)
    chex.assert_trees_all_equal(moved["embedding"][:3], before["embedding"][:3])  # their moments rest too
