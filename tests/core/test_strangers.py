"""What strangers did to the second core, and what came out."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc
from optchain.core.registry import TECHNIQUE, registered

SHOWN = [name for name, entry in registered().items() if entry.kind == TECHNIQUE and entry.is_builtin]
AVERAGES = {
    "average_params": lambda: oc.chain(oc.sgd(0.1), oc.average_params()),
    "schedule_free": lambda: oc.schedule_free(oc.sgd(0.1), 0.1),
    "ema_nesterov": lambda: oc.ema_nesterov(oc.sgd(0.1), 0.5),
    "lookahead": lambda: oc.lookahead(oc.sgd(0.1), 2, 0.5),
    "sparse": lambda: oc.sparse(oc.chain(oc.sgd(0.1), oc.average_params()), 0.5),
    "guard": lambda: oc.guard(oc.accumulate(oc.precision(oc.schedule_free(oc.sgd(0.1), 0.1)), 1)),
}


def model():
    return {"w": jnp.ones((4, 4)), "b": jnp.ones(4, jnp.bfloat16), "table": jnp.arange(3), "none": None}


def gradients(params):
    return {"w": 2 * params["w"], "b": 2 * params["b"], "table": None, "none": None}


@pytest.mark.parametrize("name", AVERAGES)
def test_the_average_of_a_model_has_its_integers_and_nones(name):
    params, tx = model(), AVERAGES[name]()
    params, state = oc.apply(tx, gradients(params), tx.init(params), params)
    average = oc.averaged_params(state, params)
    assert average["none"] is None
    np.testing.assert_array_equal(average["table"], params["table"])
    assert average["w"].shape == (4, 4)
    assert average["b"].dtype == jnp.float32


@pytest.mark.parametrize("name", AVERAGES)
def test_the_average_of_a_model_has_its_frozen_parameters(name):
    params = model()
    tx = oc.groups(AVERAGES[name](), {"b": oc.FROZEN, "*": {}})
    params, state = oc.apply(tx, gradients(params), tx.init(params), params)
    average = oc.averaged_params(state, params)
    np.testing.assert_array_equal(average["b"], jnp.ones(4))
    assert jax.tree.structure(average) == jax.tree.structure(params)


def test_the_average_within_a_partition_of_optax():
    params = {"w": jnp.ones(3), "f": jnp.ones(2)}
    tx = optax.partition({"a": oc.schedule_free(oc.sgd(0.1), 0.1), "z": optax.set_to_zero()}, {"w": "a", "f": "z"})
    params, state = oc.apply(tx, params, tx.init(params), params)
    average = oc.averaged_params(state, params)
    np.testing.assert_allclose(average["w"], jnp.full(3, 0.9), rtol=1e-6)
    np.testing.assert_array_equal(average["f"], jnp.ones(2))


def test_rows_of_a_model_with_other_leaves_wake():
    params = model()
    tx = oc.groups(oc.rows(oc.adamw(0.1), tables="w"), {"b": oc.FROZEN, "*": {}})
    params, state = oc.apply(tx, gradients(params), tx.init(params), params)
    awake = oc.awake_params(state, params)
    assert awake["none"] is None
    assert awake["b"] is params["b"]
    np.testing.assert_array_equal(awake["w"], params["w"])


@pytest.mark.parametrize("traced", [False, True])
def test_an_array_is_one_factor_for_a_number_that_all_leaves_share(traced):
    params = {"w": jnp.ones(4), "b": jnp.ones(4)}

    def step(factor):
        tx = oc.groups(oc.clip_by_global_norm(1.0), {"*": {"max_norm": factor}})
        return tx.update(params, tx.init(params), params)[0]

    updates = (jax.jit(step) if traced else step)(jnp.float32(0.5))
    np.testing.assert_allclose(optax.tree.norm(updates), 0.5, rtol=1e-6)


@pytest.mark.parametrize("first", ["lr.learning_rate", "*"])
def test_a_name_counts_before_a_pattern_traced_or_not(first):
    """Tracing sorts a dict: what the last of two keys said was another thing eagerly than compiled."""
    params, tx = jnp.ones(3), oc.sgd(0.1)
    hyper = {"lr.learning_rate": 1.0, "*": 0.0}
    hyper = {first: hyper[first]} | hyper
    step = functools.partial(tx.update, params, tx.init(params), params)
    for updates, _ in (step(hyper=hyper), jax.jit(lambda hyper: step(hyper=hyper))(hyper)):
        np.testing.assert_array_equal(updates, -jnp.ones(3))


@pytest.mark.parametrize("name", SHOWN)
def test_tables_fit_120_columns_and_show_no_addresses(name):
    text = str(registered()[name].make(**registered()[name].example))
    assert max(map(len, text.splitlines())) <= 120
    assert "0x" not in text
    assert "0x" not in repr(registered()[name].make(**registered()[name].example))


def test_functions_are_written_by_their_names():
    tx = oc.scale(0.5, mask=functools.partial(oc.is_matrix, "x", p=2))
    assert "rule=Scale(step_size=0.5)" in repr(tx)
    assert "mask=partial(is_matrix, 'x', p=2)" in repr(tx)
    assert repr(oc.muon(oc.linear(0.1, 0.0, 9))).count("Hidden()") == 4
    assert "('one', optax.scale_by_adam)" in repr(oc.chain(one=optax.scale_by_adam()))


def test_a_copy_with_a_partial_function_is_equal():
    mask = functools.partial(oc.is_matrix)
    tx = oc.add_decayed_weights(0.1, mask=mask)
    assert copy.deepcopy(tx) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert oc.add_decayed_weights(0.1, mask=functools.partial(oc.is_kernel)) != tx
