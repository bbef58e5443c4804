"""L-BFGS with a line search, against its algorithm and against optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc
from optchain.presets.line_search import SearchChain

START = {"x": jnp.array([-1.2, 0.5]), "y": jnp.array([1.0, -0.5])}


def rosenbrock(p):
    return jnp.sum(100.0 * (p["y"] - p["x"] ** 2) ** 2 + (1.0 - p["x"]) ** 2)


def minimized(tx, apply, start=START, steps=60, **told):
    """The parameters and the state after all steps, and the losses before each."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(rosenbrock)(params)
        own = {name: grads if name == "grad" else x for name, x in told.items()}
        return apply(tx, grads, state, params, value=value, value_fn=rosenbrock, **own), value

    (params, state), values = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))((start, tx.init(start)))
    return params, state, values


def plain(tx, grads, state, params, **told):
    updates, state = tx.update(grads, state, params, **told)
    return optax.apply_updates(params, updates), state


def test_finds_the_minimum():
    params, _, values = minimized(oc.lbfgs(), oc.apply)
    chex.assert_trees_all_close(params, {"x": jnp.ones(2), "y": jnp.ones(2)}, atol=1e-4)
    assert values[-1] < 1e-8 and np.all(np.diff(values) <= 1e-4 * np.abs(values[:-1]) + 1e-7)


@pytest.mark.parametrize("options", [{}, {"memory_size": 3}, {"scale_init_precond": False}], ids=str)
def test_is_that_of_optax_bit_for_bit(options):
    params, state, values = minimized(oc.lbfgs(**options), oc.apply)
    theirs, twin, others = minimized(optax.lbfgs(**options), plain, grad=None)
    chex.assert_trees_all_equal((params, values), (theirs, others))
    chex.assert_trees_all_equal(state["links"]["lbfgs"]["scale_by_lbfgs"]["optax"], twin[0])
    search = state["links"]["search"]["scale_by_zoom_linesearch"]["optax"]
    chex.assert_trees_all_equal(search, twin[-1])


@pytest.mark.parametrize("options", [{"learning_rate": 1e-3, "linesearch": None}, {"learning_rate": 0.5}], ids=str)
def test_takes_a_learning_rate_as_optax_does(options):
    told = {} if "linesearch" in options else {"value": None}

    def without_search(tx, grads, state, params, **given):
        return oc.apply(tx, grads, state, params, **(given if told else {}))

    params, _, values = minimized(oc.lbfgs(**options), without_search, steps=20)
    theirs, _, others = minimized(optax.lbfgs(**options), plain, grad=None, steps=20)
    chex.assert_trees_all_equal((params, values), (theirs, others))


@pytest.mark.parametrize("name", ["scale_by_backtracking_linesearch", "scale_by_zoom_linesearch"])
def test_takes_any_line_search_of_optax(name):
    search = getattr(optax, name)(5)
    params, state, values = minimized(oc.lbfgs(linesearch=search), oc.apply, steps=20)
    theirs, _, others = minimized(optax.lbfgs(linesearch=search), plain, grad=None, steps=20)
    chex.assert_trees_all_equal((params, values), (theirs, others))
    assert list(state["links"]["search"]) == [name]


def test_takes_a_line_search_from_a_configuration():
    table = {"use": "lbfgs", "linesearch": {"use": "optax.scale_by_zoom_linesearch", "max_linesearch_steps": 5}}
    tx = oc.from_config(table)
    assert isinstance(tx.link, SearchChain) and tx.link.links[-1][1].link.name == "scale_by_zoom_linesearch"


def direction(g, pairs):
    """The two loops of Nocedal and Wright, Algorithm 7.4: from the newest pair to the oldest and back."""
    q, alphas = g.copy(), []
    for s, y in pairs[::-1]:
        alphas.append(s @ q / (s @ y))
        q = q - alphas[-1] * y
    s, y = pairs[-1]
    q = s @ y / (y @ y) * q
    for (s, y), alpha in zip(pairs, alphas[::-1], strict=True):
        q = q + (alpha - y @ q / (s @ y)) * s
    return -q


def test_steps_along_the_direction_of_the_paper():
    """In float64, from the iterates before: whatever step the search takes, it is along the direction of the paper."""
    memory = 4
    with jax.enable_x64(True):
        curvatures = jnp.asarray(np.logspace(0, 4, 30))
        loss = lambda p: jnp.sum(curvatures * (jnp.sqrt(1 + p**2) - 1))  # noqa: E731
        tx, p = oc.lbfgs(memory_size=memory), jnp.asarray(np.random.default_rng(0).normal(size=30))
        step = jax.jit(lambda p, s: oc.apply(tx, jax.grad(loss)(p), s, p, value=loss(p), value_fn=loss))
        state, points, grads, values = tx.init(p), [], [], []
        for _ in range(101):
            points, grads = [*points, np.asarray(p)], [*grads, np.asarray(jax.grad(loss)(p))]
            values.append(float(loss(p)))
            p, state = step(p, state)
    compared = 0
    for t in range(1, 100):
        moved = points[t + 1] - points[t]
        if values[t] < 1e-12 * values[0]:
            break
        pairs = [(points[i + 1] - points[i], grads[i + 1] - grads[i]) for i in range(max(0, t - memory), t)]
        wanted = direction(grads[t], pairs)
        np.testing.assert_allclose(moved / np.linalg.norm(moved), wanted / np.linalg.norm(wanted), atol=1e-6)
        compared += 1
    assert compared > 20 and np.all(np.diff(values[:compared]) < 0)


def test_a_clip_before_it_gives_the_gradient_apart():
    """What enters is shorter than the gradient: the search needs that of the loss."""
    tx = oc.chain(clip=oc.clip_by_global_norm(1.0), lbfgs=oc.lbfgs())
    params, state, _ = minimized(tx, oc.apply, grad=None, steps=200)
    assert rosenbrock(params) < 0.1 * rosenbrock(START)
    assert oc.metrics(state)


@pytest.mark.parametrize("wrap", [oc.guard, lambda tx: oc.accumulate(tx, 1)], ids=["guard", "accumulate"])
def test_works_within_wrappers(wrap):
    params, _, _ = minimized(wrap(oc.lbfgs()), oc.apply)
    chex.assert_trees_all_close(params, {"x": jnp.ones(2), "y": jnp.ones(2)}, atol=1e-3)


def test_bfloat16_parameters_are_searched_in_float32():
    seen, start = [], jax.tree.map(jnp.bfloat16, START)
    loss = lambda p: seen.append(p["x"].dtype) or rosenbrock(p)  # noqa: E731
    tx = oc.lbfgs()
    params, state = oc.apply(tx, start, tx.init(start), start, value=jnp.float32(1.0), value_fn=loss)
    assert set(seen) == {jnp.dtype("float32")} and params["x"].dtype == jnp.bfloat16
    assert all(x.dtype in (jnp.float32, jnp.int32) for x in jax.tree.leaves(state))


def test_what_is_missing_is_named():
    tx = oc.lbfgs()
    state = tx.init(START)
    with pytest.raises(ValueError, match="lbfgs searches for a step and lacks value and value_fn: call update"):
        oc.apply(tx, START, state, START)
    with pytest.raises(ValueError, match="lacks value_fn: call"):
        oc.apply(tx, START, state, START, value=1.0)
    with pytest.raises(ValueError, match="lbfgs reads the parameters"):
        tx.update(START, state, value=1.0, value_fn=rosenbrock)
    with pytest.raises(ValueError, match="lbfgs: memory_size must be a whole number of at least 1, got 0"):
        oc.lbfgs(memory_size=0)
