import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from torch_twin import run_torch

import optchain as oc

RATE, WARMUP = 0.5, 20


def schedule_free_sgd(gs, p, b1=0.9, power=2.0):
    """Equations 3 to 5 of the paper, with the weights and the warm-up of its Algorithm 1."""
    x, y, z, total = p, p, p, 0.0
    for t, g in enumerate(gs):
        rate = RATE * min((t + 1) / WARMUP, 1)
        z = z - rate * g
        total += rate**power
        c = rate**power / total if total else 0.0
        x = (1 - c) * x + c * z
        y = (1 - b1) * z + b1 * x
    return {"params": y, "z": z, "x": x}


def test_agrees_with_the_paper(recorded):
    ours = run(oc.schedule_free_sgd(RATE, WARMUP), recorded)
    twin = by_leaf(schedule_free_sgd, recorded.grads, recorded.params)
    assert_agree(ours.state["schedule_free"]["z"], twin["z"], PARAMS)  # a rounding of a parameter at each step
    assert_agree(ours.params, twin["params"], PARAMS)
    assert_agree(oc.averaged_params(ours.state, ours.params), twin["x"], PARAMS)


def test_is_exact_in_float64_but_for_the_weights(recorded):
    """The schedule and the weights are float32."""
    ours = run_float64(oc.schedule_free_sgd(RATE, WARMUP), recorded)
    assert_agree(ours.params, by_leaf(schedule_free_sgd, recorded.grads, recorded.params)["params"], 1e-6)


@pytest.mark.parametrize("b1", [0.5, 0.9])
def test_agrees_with_optax_at_a_constant_rate(recorded, b1):
    """With a schedule optax would begin at step 1, where the presets' warm-up begins too."""
    ours = run(oc.schedule_free(oc.adam(0.01, b1=0.0), 0.01, b1), recorded)
    twin = run_twin(optax.contrib.schedule_free(optax.adam(0.01, b1=0.0), 0.01, b1), recorded)
    assert_agree(ours.state["schedule_free"]["z"], twin.state.z, PARAMS)
    assert_agree(ours.params, twin.params, PARAMS)
    theirs = optax.contrib.schedule_free_eval_params(twin.state, twin.params)
    assert_agree(oc.averaged_params(ours.state, ours.params), theirs, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    """Its warm-up begins at 1 / warmup, so there is none here."""
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    make = lambda p: optimizers.ScheduleFreeSGD(p, lr=RATE, momentum=0.9, weight_decay=0.0, warmup_steps=0)  # noqa: E731
    params, _ = run_torch(make, recorded)
    assert_agree(run(oc.schedule_free_sgd(RATE), recorded).params, params, PARAMS)


def test_the_first_step_of_a_schedule_is_its_step_zero():
    params = {"w": jnp.ones(2)}
    tx = oc.schedule_free(oc.sgd(0.1), lambda step: jnp.where(step == 0, 3.0, 7.0))
    _, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(state["schedule_free"]["weight_sum"], 9.0)


def test_a_falling_rate_weighs_by_itself_and_not_by_the_largest_so_far():
    """Algorithm 1 of the paper; its code, and optax, would weigh all three iterates by the first rate."""
    params, rates = {"w": jnp.zeros(1)}, jnp.array([4.0, 2.0, 1.0])
    tx = oc.schedule_free(oc.sgd(1.0), lambda step: rates[step], weight_lr_power=1.0)
    state = tx.init(params)
    for _ in range(3):
        params, state = oc.apply(tx, {"w": jnp.ones(1)}, state, params)
    np.testing.assert_allclose(oc.averaged_params(state, params)["w"], -(4 * 1 + 2 * 2 + 1 * 3) / 7, rtol=1e-6)


def test_another_interpolation_after_a_restart_finds_the_same_average():
    params, g = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([0.3, 0.1])}
    first, second = (oc.schedule_free(oc.sgd(0.1), 0.1, b1) for b1 in (0.5, 0.9))
    state = first.init(params)
    for _ in range(3):
        params, state = oc.apply(first, g, state, params)
    wanted = oc.averaged_params(state, params)
    params, state = oc.apply(second, jax.tree.map(jnp.zeros_like, g), state, params)
    # A step of gradient 0 leaves z where it is, and takes the average a quarter of the way to it.
    mixed = jax.tree.map(lambda x, z: 0.75 * x + 0.25 * z, wanted, state["schedule_free"]["z"])
    chex.assert_trees_all_close(oc.averaged_params(state, params), mixed, rtol=1e-6)


def test_the_average_asks_for_the_parameters_and_is_found_anywhere():
    params = {"w": jnp.ones(2)}
    tx = oc.guard(oc.accumulate(oc.chain(inner=oc.schedule_free(oc.sgd(0.1), 0.1)), 1))
    state = tx.init(params)
    params, state = oc.apply(tx, params, state, params)
    chex.assert_trees_all_close(oc.averaged_params(state, params), {"w": jnp.full(2, 0.9)}, rtol=1e-6)
    with pytest.raises(ValueError, match=r"averaged_params\(state, params\)"):
        oc.averaged_params(state)


def test_adamw_decays_at_the_point_of_the_gradient(recorded):
    ours = run(oc.schedule_free_adamw(0.01, weight_decay=0.1), recorded)
    twin = run_twin(optax.contrib.schedule_free_adamw(0.01, weight_decay=0.1), recorded)
    assert_agree(ours.params, twin.params, PARAMS)


def schedule_free_adamw(gs, p, decay_at_z, paper, rate=0.01, warmup=20, b1=0.9, b2=0.999, eps=1e-8, decay=0.1):
    """The authors' reference implementation, with their package's bias correction and with the paper's."""
    x, y, z, v, total = p, p, p, np.zeros_like(p), 0.0
    for t, g in enumerate(gs, 1):
        seen = 1 - b2**t
        now = rate * min(t / warmup, 1) * (np.sqrt(seen) if paper else 1)
        v = b2 * v + (1 - b2) * g**2
        z = z - now * decay * (z if decay_at_z else y) - now * g / (np.sqrt(v / (1 if paper else seen)) + eps)
        total += now**2
        x = x + now**2 / total * (z - x)
        y = b1 * x + (1 - b1) * z
    return {"params": y, "z": z, "x": x}


@pytest.mark.parametrize("decay_at_z,paper", [(False, False), (True, False), (False, True)])
def test_adamw_agrees_with_the_authors_versions(recorded, decay_at_z, paper):
    tx = oc.schedule_free_adamw(0.01, WARMUP, weight_decay=0.1, decay_at_z=decay_at_z, paper=paper)
    ours, twin = (
        run(tx, recorded),
        by_leaf(schedule_free_adamw, recorded.grads, recorded.params, decay_at_z=decay_at_z, paper=paper),
    )
    assert_agree(ours.params, twin["params"], PARAMS)
    assert_agree(ours.state["schedule_free"]["z"], twin["z"], PARAMS)


@pytest.mark.parametrize("steps,first", [(0, -1.0), (1, -1.0), (10, -0.1)])
def test_the_first_step_of_a_warm_up_moves(steps, first):
    g = jnp.array([1.0, -2.0])
    for make, expected in ((oc.schedule_free_adamw, jnp.sign(g)), (oc.schedule_free_sgd, g)):
        tx = make(1.0, warmup_steps=steps)
        np.testing.assert_allclose(tx.update(g, tx.init(g), g)[0], first * expected, rtol=1e-6)


def test_optax_throws_the_first_gradient_of_a_warm_up_away():
    g, tx = jnp.array([1.0, -2.0]), optax.contrib.schedule_free_adamw(1.0, warmup_steps=10)
    np.testing.assert_array_equal(tx.update(g, tx.init(g), g)[0], 0.0)


@pytest.mark.parametrize("name,value", [("b1", 0.0), ("learning_rate", -0.1), ("weight_lr_power", -1.0)])
def test_a_bad_number_is_refused(name, value):
    with pytest.raises(ValueError, match=f"schedule_free: {name} must"):
        oc.schedule_free(oc.sgd(0.1), **{"learning_rate": 0.1, name: value})
