"""Why a step was rejected, and which leaf it was."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optchain as oc

PARAMS = {
    "a": None,
    "count": jnp.array(3),
    "frozen": {"w": jnp.ones(2)},
    "layers": [jnp.ones((2, 2)), jnp.ones(0), jnp.ones(2)],
    "table": jnp.ones((3, 2)),
}
FROZEN = {"frozen/*": oc.FROZEN, "*": {}}
AROUND = {
    "alone": lambda tx: oc.groups(oc.guard(tx), FROZEN),
    "of groups": lambda tx: oc.guard(oc.groups(tx, FROZEN)),
    "of a group's own": lambda tx: oc.groups(tx, {"frozen/*": oc.FROZEN, "table": {}, "*": oc.guard(tx)}),
    "in a chain": lambda tx: oc.chain(clip=oc.clip(1.0), safe=oc.groups(oc.guard(tx), FROZEN)),
    "around accumulate": lambda tx: oc.guard(oc.accumulate(tx, 2)),
    "in optax": lambda tx: optax.chain(optax.masked(oc.guard(tx), lambda p: {**jax.tree.map(bool_of, p), "a": None})),
}


def bool_of(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def gradients(**changes):
    """Gradients of what can move."""
    grads = jax.tree.map(lambda p: jnp.ones_like(p) if bool_of(p) else None, PARAMS)
    return {**grads, **changes}


def spoiled(bad):
    return gradients(layers=[jnp.ones((2, 2)), jnp.ones(0), jnp.array([1.0, bad])], table=jnp.full((3, 2), bad))


@pytest.mark.parametrize("around", AROUND)
def test_the_leaf_has_its_path_wherever_the_guard_stands(around):
    tx = AROUND[around](oc.sgd(0.1))
    grads = spoiled(jnp.nan)
    if around == "in optax":  # which needs a gradient for every leaf
        grads |= {"count": jnp.zeros((), jax.dtypes.float0)}
    step = jax.jit(lambda g, s: tx.update(g, s, PARAMS)[1])
    state = step(grads, tx.init(PARAMS))
    assert oc.rejection(state, PARAMS) == "gradient not finite: leaf 'layers/2'"


def test_only_the_last_step_counts_and_only_what_is_not_finite_has_a_leaf():
    tx, p = oc.guard(oc.sgd(0.1), max_norm=5.0, max_value=1.0), {"b": jnp.ones(2), "w": jnp.ones(2)}
    bad = {"b": jnp.ones(2), "w": jnp.array([jnp.inf, 1.0])}

    def step(state, given):
        g, value = given
        state = oc.apply(tx, g, state, p, value=value)[1]
        return state, oc.metrics(state)

    grads = [bad, p, {"b": 100 * p["b"], "w": p["w"]}, p, p]
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *grads)
    values = jnp.array([0.0, 0.0, 0.0, jnp.nan, 2.0])
    state, shown = jax.jit(lambda s, xs: jax.lax.scan(step, s, xs))(tx.init(p), (stacked, values))
    assert [oc.REASONS[i] for i in shown["guard.reason"].astype(int)] == [
        "gradient not finite",
        "accepted",
        "gradient norm above its limit",
        "value not finite",
        "value above its limit",
    ]
    assert shown["guard.leaf"].tolist() == [1, -1, -1, -1, -1]
    assert oc.rejection(state, p) == "value above its limit"
    assert oc.rejection(tx.init(p), p) is None


def test_an_output_that_is_not_finite_has_a_leaf_too():
    p = {"b": jnp.ones(2), "w": jnp.zeros(2)}
    inverse = optax.stateless(lambda g, p: jax.tree.map(lambda g, p: g / p, g, p))
    tx = oc.guard(oc.chain(inverse), check_outputs=True)
    for call in (tx.update, lambda *args: oc.apply(tx, *args)):
        _, state = call(p | {"w": jnp.ones(2)}, tx.init(p), p)
        assert oc.rejection(state, p) == "output not finite: leaf 'w'"


def test_a_gradient_of_rows_is_a_leaf():
    p = {"bias": jnp.ones(2), "embedding": jnp.ones((4, 2))}
    tx = oc.guard(oc.rows(oc.sgd(0.1), "embedding"))
    grads = {"bias": jnp.ones(2), "embedding": oc.RowGradient(jnp.array([1]), jnp.full((1, 2), jnp.nan), 4)}
    assert oc.rejection(oc.apply(tx, grads, tx.init(p), p)[1], p) == "gradient not finite: leaf 'embedding'"


def test_of_a_state_without_a_guard_nothing_is_known():
    p = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="there is no guard in the state"):
        oc.rejection(oc.sgd(0.1).init(p), p)
