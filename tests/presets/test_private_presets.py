"""Full optimizers that hide each single example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree
from recorded_gradients import Recorded
from tiers import one_of_each

import optchain as oc

STEPS, EXAMPLES, CLIP = 100, 4, 2.0
OPTIONS = [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]


def drawn():
    """Parameters, and the gradients of all examples of one batch for each step."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    return Recorded(params, jax.tree.map(lambda p: rng.normal(size=(STEPS, EXAMPLES, *p.shape)), params))


def paper(params, grads, rate, momentum=0.0, nesterov=False):
    """Algorithm 1 of Abadi et al. without noise, example by example; then descent with momentum."""
    m = {name: np.zeros_like(p) for name, p in params.items()}
    for t in range(STEPS):
        total = {name: np.zeros_like(p) for name, p in params.items()}
        for i in range(EXAMPLES):
            norm = np.sqrt(sum((g[t, i] ** 2).sum() for g in grads.values()))
            total = {name: s + grads[name][t, i] / max(1, norm / CLIP) for name, s in total.items()}
        g = {name: s / EXAMPLES for name, s in total.items()}
        m = {name: momentum * m[name] + g[name] for name in m}
        step = {name: g[name] + momentum * m[name] for name in m} if nesterov else m
        params = {name: p - rate * step[name] for name, p in params.items()}
    return params


def trained(tx, dtype, apply):
    params, grads = jax.tree.map(lambda x: jnp.asarray(x, dtype), drawn())

    def step(carry, g):
        params, state = carry
        return apply(tx, g, state, params), None

    return jax.jit(lambda c: jax.lax.scan(step, c, grads)[0])((params, tx.init(params)))[0]


def plain(tx, grads, state, params):
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state


@pytest.mark.filterwarnings('ignore:"seed" is deprecated:DeprecationWarning')  # of optax's own call
@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper_and_optax(options):
    tx, theirs = (make(0.1, CLIP, 0.0, seed=0, **options) for make in (oc.dpsgd, optax.contrib.dpsgd))
    exact = paper(*drawn(), rate=0.1, **options)
    with jax.enable_x64(True):
        assert_agree(jax.tree.map(np.asarray, trained(tx, "float64", oc.apply)), exact, 1e-11)
    assert_agree(trained(tx, "float32", oc.apply), exact, PARAMS)
    assert_agree(trained(tx, "float32", oc.apply), trained(theirs, "float32", plain), PARAMS)


@pytest.mark.full
def test_the_noise_is_that_of_its_link():
    params, grads = jax.tree.map(jnp.float32, drawn())
    first = jax.tree.map(lambda g: g[0], grads)
    private, tx = oc.differentially_private_aggregate(CLIP, 1.5, key=3), oc.dpsgd(0.1, CLIP, 1.5, 3, momentum=0.9)
    wanted, _ = private.update(first, private.init(params), params)
    found, state = tx.update(first, tx.init(params), params)
    assert_agree(found, jax.tree.map(lambda u: -0.1 * u, wanted), 1e-6)
    assert [name for name, _ in tx.link.links] == ["private", "momentum", "lr"]
    assert "private.clipped" in oc.metrics(state) and tx.link.name == "dpsgd"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parts_of_a_batch_make_the_steps_of_the_whole(options):
    """With its noise, under numbers of the same names."""
    params, grads = jax.tree.map(jnp.float32, drawn())
    parts = jax.tree.map(lambda g: g[:10].reshape(20, 2, *g.shape[2:]), grads)
    hyper = {"private.noise_multiplier": 0.5, "lr.learning_rate": 0.2}

    def last(tx, grads):
        step = lambda carry, g: (oc.apply(tx, g, carry[1], carry[0], hyper=hyper), None)  # noqa: E731
        return jax.jit(lambda c: jax.lax.scan(step, c, grads)[0])((params, tx.init(params)))[0]

    make = functools.partial(oc.dpsgd, 0.1, CLIP, 1.5, seed=3, batch_size=5, **options)
    expected = last(make(), jax.tree.map(lambda g: g[:10], grads))
    assert_agree(last(make(every=2), parts), expected, PARAMS)
    assert make(every=2).link.name == "differentially_private_accumulate" and make(every=1) == make()


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="l2_norm_clip must lie in"):
        oc.dpsgd(0.1, 0.0, 1.0, 0)
    with pytest.raises(ValueError, match="dpsgd: every must lie in"):
        oc.dpsgd(0.1, 1.0, 1.0, 0, every=0)
    with pytest.raises(ValueError, match="noise_multiplier must lie in"):
        oc.dpsgd(0.1, 1.0, float("nan"), 0)
