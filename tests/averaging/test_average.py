import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, run, run_float64
from recorded_gradients import repeated
from techniques import own

import optchain as oc


def averaged(us, p, decay):
    """A running mean of the iterates that the updates lead to, from the first parameters on."""
    mean = p
    for u in us:
        p = p + u
        mean = decay * mean + (1 - decay) * p
    return mean


def mean_of(params, updates, decay):
    return jax.tree.map(
        lambda p, u: averaged(np.asarray(u, np.float64), np.asarray(p, np.float64), decay), params, updates
    )


def adam(decay):
    return oc.chain(oc.scale_by_adam(), oc.scale_by_learning_rate(0.01), average=oc.average_params(decay))


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
def test_agrees_with_numpy(recorded, decay):
    ours = run(adam(decay), recorded)
    assert_agree(oc.averaged_params(ours.state), mean_of(recorded.params, ours.updates, decay), PARAMS)


@pytest.mark.parametrize("decay", [0.0, 0.999])
def test_is_exact_in_float64(recorded, decay):
    ours = run_float64(adam(decay), recorded)
    chex.assert_type(jax.tree.leaves(oc.averaged_params(ours.state)), np.float64)
    assert_agree(oc.averaged_params(ours.state), mean_of(recorded.params, ours.updates, decay), 1e-12)


def debiased(us, p, decay, start):
    """The mean with the weights b**k of the iterates since the start, over their sum."""
    iterates = p + np.cumsum(us, 0)
    tail = iterates[start:] if len(us) > start else iterates[-1:]
    weights = decay ** np.arange(len(tail))[::-1]
    return np.tensordot(weights, tail, 1) / weights.sum()


@pytest.mark.parametrize("decay,start", [(0.99, 0), (0.9, 50), (0.999, 199), (0.0, 3), (0.9, 300)])
def test_debiased_and_of_the_tail_agrees_with_numpy(recorded, decay, start):
    links = oc.scale_by_adam(), oc.scale_by_learning_rate(0.01), oc.average_params(decay, debias=True, start=start)
    ours = run(oc.chain(*links), recorded)
    twin = jax.tree.map(
        lambda p, u: debiased(np.asarray(u, np.float64), np.asarray(p, np.float64), decay, start),
        recorded.params,
        ours.updates,
    )
    assert_agree(oc.averaged_params(ours.state), twin, PARAMS)


@pytest.mark.full
def test_debiased_agrees_with_optax(recorded):
    """`optax.ema` of the iterates."""
    ours = run(oc.chain(oc.scale(-0.1), oc.average_params(0.99, debias=True)), recorded)
    iterates = jax.tree.map(lambda p, u: p[None] + jnp.cumsum(u, 0), recorded.params, ours.updates)
    ema = optax.ema(0.99, debias=True)
    step = jax.jit(lambda state, x: ema.update(x, state)[::-1])
    _, means = jax.lax.scan(step, ema.init(recorded.params), iterates)
    assert_agree(oc.averaged_params(ours.state), jax.tree.map(lambda x: x[-1], means), PARAMS)


def test_the_tail_without_debiasing_begins_with_the_parameters_at_the_start():
    params, g = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    tx = oc.chain(oc.scale(1.0), oc.average_params(0.5, start=2))
    state, seen = tx.init(params), []
    for _ in range(4):
        params, state = oc.apply(tx, g, state, params)
        seen.append(float(oc.averaged_params(state)["w"][0]))
    np.testing.assert_allclose(seen, [1.0, 2.0, 2.5, 3.25])


@pytest.mark.oracles
def test_agrees_with_torch(recorded):
    """torch's running mean of the same iterates; its `AveragedModel` would begin with the second of them."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    averages = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    ours = run(adam(0.9), recorded)
    trees = recorded.params, ours.updates, oc.averaged_params(ours.state)
    for p, us, average in zip(*map(jax.tree.leaves, trees), strict=True):
        p = torch.tensor(np.asarray(p), dtype=torch.float64)
        mean = [p.clone()]
        for u in torch.tensor(np.asarray(us), dtype=torch.float64):
            p = p + u
            averages(mean, [p], None)
        assert_agree({"average": average}, {"average": mean[0].numpy()}, PARAMS)


def test_leaves_the_update_alone(recorded):
    tx = oc.average_params(0.9)
    chex.assert_trees_all_equal(run(tx, recorded, -0.1).updates, recorded.grads)


@pytest.mark.parametrize("seed", range(3))
def test_lags_behind_a_straight_line_by_the_length_of_its_memory(seed):
    """On p0 + t u the average tends to p0 + (t - b / (1 - b)) u."""
    given, b = repeated(seed, steps=400), 0.9
    average = run(oc.average_params(b), given).state["average"]
    expected = jax.tree.map(lambda p, g: np.asarray(p) + (400 - b / (1 - b)) * np.asarray(g[0]), *given)
    assert_agree(average, expected, 2e-5)


@pytest.mark.usefixtures("strict")
def test_keeps_what_low_precision_parameters_cannot():
    """The average moves by a tenth of an update: with bfloat16 parameters near 1 that is far below their resolution."""
    p, u = {"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.full(3, 2**-6, jnp.bfloat16)}
    tx = oc.average_params(0.9)
    _, state = tx.update(u, tx.init(p), p)
    chex.assert_trees_all_close(own(state)["average"], {"w": jnp.full(3, 1 + 0.1 * 2**-6)}, rtol=1e-7)


def test_begins_with_a_copy_that_can_be_donated():
    params, tx = {"w": jnp.ones(4)}, oc.chain(oc.scale(-1.0), oc.average_params(0.5))
    state = tx.init(params)
    chex.assert_trees_all_equal(oc.averaged_params(state), params)
    step = jax.jit(lambda g, state, params: oc.apply(tx, g, state, params), donate_argnums=(1, 2))
    params, state = step({"w": jnp.ones(4)}, state, params)
    chex.assert_trees_all_equal(oc.averaged_params(state), {"w": jnp.full(4, 0.5)})


def test_finds_the_average_in_any_state():
    params = {"w": jnp.ones(4)}
    assert oc.averaged_params(oc.adam(0.1).init(params)) is None
    wrapped = optax.chain(optax.clip(1.0), oc.chain(inner=oc.chain(oc.average_params(0.5))))
    chex.assert_trees_all_equal(oc.averaged_params(wrapped.init(params)), params)
    named = {"average": jnp.ones(4)}
    chex.assert_trees_all_equal(oc.averaged_params(oc.chain(average=oc.average_params()).init(named)), named)
    twice = oc.chain(oc.average_params(0.5), oc.average_params(0.9))
    with pytest.raises(ValueError, match=r"2 links keep an average; read the one you mean from state\['links'\]"):
        oc.averaged_params(twice.init(params))


def test_asks_for_the_parameters():
    p, tx = {"w": jnp.ones(2)}, oc.average_params()
    with pytest.raises(ValueError, match="average_params reads the parameters"):
        tx.update(p, tx.init(p))


def test_a_debiased_mean_keeps_its_weights_when_its_decay_changes():
    """From its start on, each iterate has the weight (1 - b) times the decays after it, over the sum of these."""
    start, bs, p = 3, np.linspace(0.5, 0.99, 12), {"w": jnp.ones(2)}
    tx = oc.chain(average=oc.average_params(0.5, debias=True, start=start))
    state = tx.init(p)
    for b in bs:
        p, state = oc.apply(tx, {"w": jnp.array([1.0, -0.5])}, state, p, hyper={"average.decay": jnp.float32(b)})
    tail, iterates = bs[start:], 1 + np.outer(np.arange(1, 13), [1.0, -0.5])[start:]
    weights = (1 - tail) * np.append(np.cumprod(tail[:0:-1])[::-1], 1)
    np.testing.assert_allclose(oc.averaged_params(state)["w"], weights @ iterates / weights.sum(), rtol=1e-6)
    assert own(state["links"]["average"]).keys() == {"count", "average", "log", "lost"}
