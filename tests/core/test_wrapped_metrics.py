"""What wrappers show: their own metrics, and the numbers of the techniques within them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

P = {"kernel": jnp.full((4, 2), 2.0)}
RATE = lambda step: 0.5 * 0.5**step  # noqa: E731
INNER = lambda: oc.scale_by_learning_rate(RATE)  # noqa: E731
WRAPPERS = {
    "guard": lambda: oc.guard(INNER()),
    "accumulate": lambda: oc.accumulate(INNER(), 1),
    "accumulate of guard": lambda: oc.accumulate(oc.guard(INNER()), 1),
    "lookahead": lambda: oc.lookahead(INNER(), 5, 0.5),
    "ema_nesterov": lambda: oc.ema_nesterov(INNER(), 0.5),
    "schedule_free": lambda: oc.schedule_free(INNER(), 0.1),
    "sam": lambda: oc.sam(INNER()),
    "mechanize": lambda: oc.mechanize(INNER()),
    "hypergradient": lambda: oc.hypergradient(INNER(), 0.1, 1e-7),
    "precision": lambda: oc.precision(INNER()),
    "rows": lambda: oc.rows(INNER(), "kernel"),
    "sparse": lambda: oc.sparse(INNER(), 0.5),
    "graft": lambda: oc.graft(oc.scale(1.0), INNER()),
    "nested": lambda: oc.guard(oc.lookahead(oc.precision(INNER()), 5, 0.5)),
}


def run(tx, steps, state=None):
    """The states after each step of a compiled scan."""
    step = lambda carry, _: (  # noqa: E731
        lambda after: (after, after[1])
    )(oc.apply(tx, P, carry[1], carry[0], grad_fn=lambda p: p, value=jnp.ones(())))
    start = (P, tx.init(P) if state is None else state)
    return jax.jit(lambda c: jax.lax.scan(step, c, None, length=steps)[1])(start)


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_numbers_of_a_technique_within_a_wrapper_are_metrics(name):
    """By their own names, as the last step used them, from init on."""
    tx = WRAPPERS[name]()
    first, after = tx.init(P), run(tx, 3)
    assert oc.metrics(first)["learning_rate"] == 0.5
    np.testing.assert_allclose(oc.metrics(after)["learning_rate"], [0.5, 0.25, 0.125])
    _, state = oc.apply(tx, P, first, P, hyper={"learning_rate": 0.75}, grad_fn=lambda p: p)
    assert oc.metrics(state)["learning_rate"] == 0.75
    chained = oc.chain(first=oc.scale(1.0), wrapped=tx)
    assert oc.metrics(chained.init(P))["wrapped.learning_rate"] == 0.5


def test_the_slow_step_is_a_metric_from_its_own_steps():
    tx = oc.lookahead(oc.sgd(0.1), 2, RATE)
    shown = oc.metrics(run(tx, 5))
    np.testing.assert_allclose(shown["slow.learning_rate"], [0.5, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(shown["lr.learning_rate"], 0.1, rtol=1e-6)


def test_between_steps_a_gate_shows_those_of_the_last_one():
    shown = oc.metrics(run(oc.accumulate(INNER(), 2), 6))
    np.testing.assert_allclose(shown["learning_rate"], [0.5, 0.5, 0.5, 0.25, 0.25, 0.125])
    tx = oc.guard(oc.scale_by_learning_rate(0.1), max_norm=1.0)  # every step is rejected
    _, state = oc.apply(tx, P, tx.init(P), P, hyper={"learning_rate": 7.0})
    assert oc.metrics(state)["learning_rate"] == np.float32(0.1)


def test_a_wrapper_within_one_of_its_kind_has_a_number():
    tx = oc.accumulate(oc.guard(oc.accumulate(oc.guard(oc.sgd(0.1)), 2)), 3)
    shown = {name: x[-1] for name, x in oc.metrics(run(tx, 6)).items()}
    assert shown["accumulate.emitted"] == 2 and shown["accumulate_2.emitted"] == 1
    assert shown["guard.accepted"] == 2 and shown["guard_2.accepted"] == 1
    chained = oc.chain(a=oc.guard(oc.sgd(0.1)), b=oc.guard(oc.guard(optax.sgd(0.1))))
    names = oc.metrics(chained.init(P))
    assert {"a.guard.norm", "b.guard.norm", "b.guard_2.norm"} < names.keys() and "a.guard_2.norm" not in names


@pytest.mark.parametrize(
    "tx, owner",
    [
        (oc.accumulate(oc.adam(0.1), 2), "accumulate"),
        (oc.chain(a=oc.accumulate(oc.guard(oc.scale(-0.1)), 2)), "accumulate"),
        (oc.guard(oc.adam(0.1)), "guard"),
        (optax.chain(oc.outer_nesterov(oc.adam(0.1), 2)), "outer_nesterov"),
    ],
    ids=["accumulate", "in a chain", "guard", "outer_nesterov"],
)
def test_a_state_whose_metrics_were_left_out_says_how_to_put_them_back(tx, owner):
    state = tx.init(P)
    bare = oc.without_metrics(state)
    with pytest.raises(ValueError, match=rf"{owner}: the state has no metrics; call oc.with_metrics\(state, tx.init"):
        jax.jit(lambda state: tx.update(P, state, P))(bare)
    tx.update(P, oc.with_metrics(bare, tx.init(P)), P)
