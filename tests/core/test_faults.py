"""Faults that users of other libraries reported, or met in an earlier version: leaves, numbers, routing, buffers."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import build

import optchain as oc
from optchain.core.rule import rule
from optchain.inspect.laws.steps import every_extra

WRAPPERS = {
    "none": lambda tx: tx,
    "chain": oc.chain,
    "accumulate": lambda tx: oc.accumulate(tx, 1),
    "guard": oc.guard,
    "delayed": lambda tx: oc.delayed(tx, 1),
    "lookahead": lambda tx: oc.lookahead(tx, 1, 0.5),
    "outer_nesterov": lambda tx: oc.outer_nesterov(tx, 1),
    "ema_nesterov": lambda tx: oc.ema_nesterov(tx, 0.5),
    "schedule_free": lambda tx: oc.schedule_free(tx, 0.1),
    "precision": oc.precision,
    "sparse": lambda tx: oc.sparse(tx, 0.5, mask="*w"),
    "rows": lambda tx: oc.rows(tx, tables="*w"),
    "sam": oc.sam,
    "mechanize": oc.mechanize,
    "hypergradient": lambda tx: oc.hypergradient(tx, 0.1, 0.1),
    "graft": lambda tx: oc.graft(oc.scale(0.1), tx),
    "groups": lambda tx: oc.groups(tx, {"*": {}}),
}
every_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())


def gradients(params):
    """As `equinox.filter_grad` gives them: None for what is not a floating array."""
    return jax.tree.map(lambda x: jnp.ones_like(x) if isinstance(x, jax.Array) else None, params)


EXTRA = {"grad_fn": gradients}  # for wrappers that ask for gradients elsewhere


def stepped(tx, params, grads):
    """The parameters and the state after two steps: some techniques only look in the first."""
    state = tx.init(params)
    for _ in range(2):
        params, state = oc.apply(tx, grads, state, params, **EXTRA)
    return params, state


def ones(tree):
    return jax.tree.map(jnp.ones_like, tree)


@every_wrapper
def test_frozen_integers_and_keys_stay_bit_for_bit(wrap):
    """Neither 16777217 nor most keys can be expressed in float32."""
    params = {"w": jnp.ones(2), "key": jax.random.PRNGKey(123456789), "n": jnp.array([16777217])}
    tx = wrap(oc.groups(oc.sgd(0.1), {"key": oc.FROZEN, "n": oc.FROZEN, "*": {}}))
    after, _ = stepped(tx, params, ones(params))
    for name in ("key", "n"):
        assert after[name].dtype == params[name].dtype
        np.testing.assert_array_equal(after[name], params[name])
    assert (after["w"] != 1).any()


FROZEN_MODEL = {"a": {"w": np.ones((4, 3), np.float32), "n": np.array([7])}, "c": jnp.ones(2, jnp.bfloat16), "f": None}
NONE = jax.tree.map(lambda _: None, FROZEN_MODEL)
SINGLE = {
    "all": (None, NONE),
    "a subtree": (part := {"a": None, "c": jnp.ones(2, jnp.bfloat16), "f": None}, NONE | {"c": part["c"]}),
    "each subtree": ({"a": None, "c": None, "f": None}, NONE),
}


@pytest.mark.parametrize("single, each", SINGLE.values(), ids=SINGLE.keys())
@pytest.mark.parametrize("wrap", [WRAPPERS[name] for name in ("none", "sam", "groups")])
def test_a_single_none_stands_for_the_gradients_of_a_subtree(wrap, single, each):
    """As they are of a model that is frozen, all of it or a module."""
    p, tx = FROZEN_MODEL, wrap(oc.sgd(0.1, momentum=0.9))
    state, is_none = tx.init(p), {"is_leaf": lambda x: x is None}
    expected, after = tx.update(each, state, p, grad_fn=lambda _: each)
    updates, found = tx.update(single, state, p, grad_fn=lambda _: single)
    assert jax.tree.structure(updates, **is_none) == jax.tree.structure(single, **is_none)
    chex.assert_trees_all_equal(jax.tree.leaves(updates), jax.tree.leaves(expected))
    chex.assert_trees_all_equal(found, after)
    stepped, _ = oc.apply(tx, single, state, p, grad_fn=lambda _: single)
    chex.assert_trees_all_equal(stepped["a"], p["a"])
    assert (stepped["c"] != 1).all() == (each["c"] is not None)


@pytest.mark.parametrize(
    "grads, message",
    [
        ({"a": None, "b": None}, "the updates have a leaf 'b' that the parameters lack"),
        ({"a": None}, "the parameters have a leaf 'c' that the updates lack"),
    ],
)
def test_beside_a_single_none_the_leaf_that_differs_is_named(grads, message):
    p, tx = {"a": {"w": jnp.ones(2)}, "c": jnp.ones(2)}, oc.sgd(0.1)
    with pytest.raises(ValueError, match=message):
        tx.update(grads, tx.init(p), p)


@pytest.mark.parametrize("make", [oc.adamw, oc.sgd, optax.sgd])
def test_complex_parameters_are_refused(make):
    """Also for a transformation of optax that could step them: it would receive their real part alone."""
    p = {"z": jnp.array(1 + 2j)}
    for tx in (oc.accumulate(make(0.1), 1), oc.guard(make(0.1)), oc.chain(make(0.1))):
        with pytest.raises(ValueError, match="leaf 'z' is complex64"):
            stepped(tx, p, {"z": jnp.array(1 + 1j)})


@every_wrapper
def test_a_wrapper_keeps_the_laws_of_leaves(wrap):
    laws = ["foreign_leaves", "gradients_of_none", "gradients_of_float0", "integers_with_gradients", "empty_arrays"]
    oc.check_laws(wrap(oc.adamw(0.1)), {"w": jnp.ones((4, 2)), "b": jnp.ones(2)}, only=laws).require()


@every_wrapper
def test_frozen_parameters_have_no_state(wrap):
    params = {"frozen": jnp.ones(1000), "w": jnp.ones(2)}
    state = wrap(oc.groups(oc.adam(0.1), {"frozen": oc.FROZEN, "*": {}})).init(params)
    alone = wrap(oc.groups(oc.adam(0.1), {"*": {}})).init({"w": params["w"]})
    bytes_of = [sum(x.nbytes for x in jax.tree.leaves(s)) for s in (state, alone)]
    assert bytes_of[0] == bytes_of[1]


def test_a_huge_gradient_does_not_spoil_a_parameter_for_ever():
    """Its square is infinite in float32, and the next step of a mean of squares would form inf - inf."""
    tx, p = oc.adamw(0.01), jnp.ones(1)
    state = tx.init(p)
    for g in (0.1, 3e19, 0.1, 0.1):
        p, state = oc.apply(tx, jnp.array([g]), state, p)
        assert np.isfinite(p).all()


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "sparse"])  # which holds half of them at 0
def test_a_step_in_bfloat16_rounds_once(name):
    keys = jax.random.split(jax.random.key(0), 2)
    p, g = ({"w": jax.random.normal(key, (4096,)).astype(jnp.bfloat16)} for key in keys)
    extra = {"grad_fn": lambda params: {"w": g["w"].astype(jnp.float32)}}
    wide = [jax.tree.map(lambda x: x.astype(jnp.float32), x) for x in (p, g)]
    tx = WRAPPERS[name](oc.scale(-0.013))
    found, _ = oc.apply(tx, g, tx.init(p), p, **extra)
    exact, _ = oc.apply(tx, wide[1], tx.init(wide[0]), wide[0], **extra)
    np.testing.assert_array_equal(*(np.asarray(x["w"].astype(jnp.bfloat16)) for x in (found, exact)))


def two_slow_steps(rules):
    params = {"head": jnp.ones(1), "w": jnp.ones(1)}
    tx = oc.groups(oc.lookahead(oc.sgd(0.1), 2, 0.5), rules)
    state = tx.init(params)
    for _ in range(2):
        params, state = oc.apply(tx, ones(params), state, params)
    return {name: float(x[0]) for name, x in params.items()}


def test_a_factor_goes_to_its_address():
    """Two steps of a rate of 0.1, of which lookahead takes back half; a bare name does not address its slow step."""
    found = two_slow_steps({"head": {"learning_rate": 0.1}, "*": {}})
    assert found == pytest.approx({"head": 1 - 0.5 * 0.02, "w": 1 - 0.5 * 0.2})
    found = two_slow_steps({"head": {"slow.learning_rate": 0.1}, "*": {}})
    assert found == pytest.approx({"head": 1 - 0.05 * 0.2, "w": 1 - 0.5 * 0.2})
    found = two_slow_steps({"head": {"*learning_rate": 0.1}, "*": {}})
    assert found == pytest.approx({"head": 1 - 0.05 * 0.02, "w": 1 - 0.5 * 0.2})


class OneAverage(NamedTuple):
    average: jax.Array


class OneSnapshot(NamedTuple):
    snapshot: jax.Array


@pytest.mark.parametrize("Slots", [OneAverage, OneSnapshot])
def test_a_slot_called_average_or_snapshot_is_not_an_average_of_the_parameters(Slots):
    @rule
    class Follower:
        """Keeps the last update."""

        def init(self, p):
            return Slots(jnp.zeros_like(p))

        def update(self, g, s, p, t):
            return g, Slots(g)

    follower, params = oc.lift(Follower, "keep_last_update"), {"w": jnp.ones(2)}
    for tx in (follower(), oc.chain(follower(), oc.sgd(0.1)), oc.guard(oc.chain(a=follower()))):
        _, state = stepped(tx, params, params)
        assert oc.averaged_params(state, params) is None
    _, state = stepped(oc.chain(follower(), oc.sgd(0.1), oc.polyak_average()), params, params)
    np.testing.assert_allclose(oc.averaged_params(state)["w"], (1.0 + 0.9 + 0.8) / 3, rtol=1e-6)


def test_gradients_of_examples_pass_through_a_guard():
    """What a rejected step gives has the shape of the parameters, not that of the gradients."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]])}
    private = oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
    expected, _ = private.update(grads, private.init(params), params)
    tx = oc.guard(private)
    updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)
    np.testing.assert_allclose(expected["w"], -0.1 * np.array([0.6 + 0.3, 0.8 + 0.4]) / 2, rtol=1e-6)
    bad = {"w": grads["w"] * jnp.nan}
    chex.assert_trees_all_equal(jax.jit(tx.update)(bad, tx.init(params), params)[0], {"w": jnp.zeros(2)})
    chex.assert_trees_all_equal(oc.apply(tx, bad, tx.init(params), params)[0], params)


@pytest.mark.parametrize("every", [1, 2])
def test_gradients_of_examples_are_not_accumulated_before_they_are_clipped(every):
    """The mean of the i-th examples of two micro-batches is not an example whose influence is bounded."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones((4, 2))}
    tx = oc.accumulate(oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0), every)
    with pytest.raises(
        ValueError, match=r"accumulate: leaf 'w' has shape \(4, 2\) .*_private_accumulate`, which clips"
    ):
        oc.apply(tx, grads, tx.init(params), params)


@pytest.mark.parametrize("name", ["soap", "shampoo", "kl_soap", "lookahead", "schedule_free", "adamw", "lbfgs"])
def test_a_state_from_an_eager_init_is_donated_with_its_parameters(name):
    params, tx = {"kernel": jnp.eye(4), "bias": jnp.ones(4)}, build(name)
    step = jax.jit(lambda p, s: oc.apply(tx, ones(p), s, p, **every_extra()), donate_argnums=(0, 1))
    after, _ = step(params, tx.init(params))
    chex.assert_tree_all_finite(after)
