import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import joined
from torch_twin import run_torch

import optchain as oc
from optchain.core.walk import numbers_of

RATE, EVERY, SIZE = 0.1, 5, 0.4


def lookahead(gs, p):
    """Algorithm 1 of the paper around SGD."""
    slow = fast = p
    for t, g in enumerate(gs, 1):
        fast = fast - RATE * g
        if t % EVERY == 0:
            slow = slow + SIZE * (fast - slow)
            fast = slow
    return {"params": fast, "slow": slow}


def test_agrees_with_the_paper(recorded):
    ours = run(oc.lookahead(oc.sgd(RATE), EVERY, SIZE), recorded)
    twin = by_leaf(lookahead, recorded.grads, recorded.params)
    assert_agree(ours.params, twin["params"], PARAMS)
    assert_agree(oc.averaged_params(ours.state), twin["slow"], PARAMS)


def test_is_exact_in_float64(recorded):
    ours = run_float64(oc.lookahead(oc.sgd(RATE), EVERY, SIZE), recorded)
    assert_agree(ours.params, by_leaf(lookahead, recorded.grads, recorded.params)["params"], 1e-12)


@pytest.mark.parametrize("reset", [False, True])
def test_agrees_with_optax_without_its_pairs_of_parameters(entries, reset):
    recorded = joined(entries)
    ours = run(oc.lookahead(oc.adam(RATE), EVERY, SIZE, reset), recorded)
    pairs = recorded._replace(params=optax.LookaheadParams.init_synced(recorded.params))
    twin = optax.lookahead(optax.adam(RATE), EVERY, SIZE, reset)

    def step(carry, g):
        params, state = carry
        u, state = twin.update(g, state, params)
        return (optax.apply_updates(params, u), state), None

    start = (pairs.params, twin.init(pairs.params))
    (params, _), _ = jax.jit(lambda start, gs: jax.lax.scan(step, start, gs))(start, recorded.grads)
    assert_agree(ours.params, params.fast, PARAMS)
    assert_agree(oc.averaged_params(ours.state), params.slow, PARAMS)


def test_what_restarts_may_be_any_transformation_and_begins_at_the_slow_weights():
    """Also one that keeps the parameters, holds none of some, and has metrics of its own."""
    params, g = {"w": jnp.array([1.0, 2.0]), "n": jnp.arange(2)}, {"w": jnp.ones(2), "n": None}
    inner = oc.chain(
        to=oc.decay_to_init(0.1), average=optax.trace(0.9), lr=oc.scale_by_learning_rate(oc.linear(0.1, 0.2, 4))
    )
    tx = oc.lookahead(inner, 2, 0.5, reset_state=True)
    state, step = tx.init(params), jax.jit(lambda g, state, params: oc.apply(tx, g, state, params))
    for due in (False, True, False, True):
        params, state = step(g, state, params)
        links = state["inner"]["links"]
        assert (int(state["inner"]["step"]), int(links["to"]["decay_to_init"]["count"])) == (1 - due, 1 - due)
        if due:
            chex.assert_trees_all_equal(links["to"]["decay_to_init"]["initial"]["w"], params["w"])


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")

    def make(p):
        return optimizers.Lookahead(torch.optim.SGD(p, lr=RATE), k=EVERY, alpha=SIZE, pullback_momentum="none")

    params, _ = run_torch(make, recorded)
    assert_agree(run(oc.lookahead(oc.sgd(RATE), EVERY, SIZE), recorded).params, params, PARAMS)


def test_the_slow_step_has_a_name_and_may_follow_a_schedule_of_slow_steps():
    params, g = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    tx = oc.chain(look=oc.lookahead(oc.scale(-1.0), 2, lambda step: jnp.where(step == 0, 1.0, 0.5)))
    assert numbers_of(tx) == ["look.step_size", "look.slow.learning_rate"]
    state, seen = tx.init(params), []
    for _ in range(4):
        params, state = oc.apply(tx, g, state, params)
        seen.append(float(params["w"][0]))
    np.testing.assert_allclose(seen, [-1, -2, -3, -3])
    for _ in range(2):
        params, state = oc.apply(tx, g, state, params, hyper={"look.slow.learning_rate": 0.0})
    np.testing.assert_allclose(params["w"], -3)


def test_migrates_and_prints():
    params = {"w": jnp.ones((2, 2))}
    old = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1))
    _, state = old.update(params, old.init(params), params)
    tx = oc.lookahead(old, 5, 0.5)
    moved, report = oc.migrate_state(state, tx, params)
    chex.assert_trees_all_equal(moved["inner"]["links"], state["links"])
    assert "(lookahead)" in report.created and not report.dropped
    _, after = tx.update(params, moved, params)
    back, report = oc.migrate_state(after, old, params)
    chex.assert_trees_all_equal(back["links"], after["inner"]["links"])
    assert "slow" in str(tx) and "lookahead" in str(tx)


@pytest.mark.parametrize("changes", [{"sync_period": 0}, {"sync_period": 1.5}, {"slow_step_size": 1.5}])
def test_a_bad_number_is_refused(changes):
    with pytest.raises(ValueError, match=f"lookahead: {next(iter(changes))} must"):
        oc.lookahead(oc.sgd(0.1), **{"sync_period": 5, "slow_step_size": 0.5, **changes})
