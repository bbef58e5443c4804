import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import assert_agree
from compiler_counts import counts
from techniques import tree

import optchain as oc

RATE, STEPS = 0.2, 24
X = np.random.default_rng(0).normal(size=(STEPS, 8, 3))
Y = np.tanh(X @ np.array([[1.0, -1.0], [0.5, 2.0], [-2.0, 0.0]])) + 0.1
W = np.random.default_rng(1).normal(size=(3, 2))


def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)


def gradient(w, t):
    """That of the loss on the batch of step t, by hand."""
    out = np.tanh(X[t] @ w)
    return X[t].T @ (2 * (out - Y[t]) * (1 - out**2)) / Y[t].size


def sgd(g, s):
    return -RATE * g, s


def momentum(g, s):
    v = 0.9 * (0 if s is None else s) + g
    return -RATE * v, v


def adam(g, s):
    t, mu, nu = (0, 0, 0) if s is None else s
    t, mu, nu = t + 1, 0.9 * mu + 0.1 * g, 0.999 * nu + 0.001 * g**2
    return -RATE * (mu / (1 - 0.9**t)) / (np.sqrt(nu / (1 - 0.999**t)) + 1e-8), (t, mu, nu)


INNERS = {
    "sgd": (sgd, lambda: oc.sgd(RATE)),
    "momentum": (momentum, lambda: oc.momentum(RATE)),
    "adam": (adam, lambda: oc.adam(RATE)),
}


def plain(g, way, tau, nu):
    return g, nu


def constant(g, way, tau, nu):
    return g + 0.5 * g * g * way, nu


def by_rms(g, way, tau, nu):
    nu = 0.9 * (0 if nu is None else nu) + 0.1 * g * g
    return g + 2.0 / np.sqrt(nu + 1e-7) * g * g * way, nu


def slower(g, way, tau, nu):
    return g / max(tau, 1), nu


LINKS = {
    "plain": (plain, lambda: None),
    "compensated": (constant, lambda: oc.compensate_delay(0.5)),
    "compensated by rms": (by_rms, lambda: oc.compensate_delay_by_rms(2.0, 0.9, bias_correction=False)),
    "slower": (slower, lambda: oc.scale_by_staleness()),
}
DELAYS = {"none": 0, "constant": 3, "by worker": [0, 1, 5], "random": 4, "random by worker": [2, 7]}


def paper(rule, link, delays):
    """Stale gradients in float64: every iterate is kept, and the gradient is that of an earlier one on its batch."""
    iterates, s, nu = [W], None, None
    for t, tau in enumerate(delays):
        w, step = iterates[-1], 0
        if t >= tau:
            old = iterates[t - tau]
            g, nu = link(gradient(old, t - tau), w - old, tau, nu)
            step, s = rule(g, s)
        iterates.append(w + step)
    return np.stack(iterates[1:])


def trained(tx, dtype="float64"):
    """The parameters after each step, and what the metrics say of it."""
    with jax.enable_x64(True):
        w, x, y = (jnp.asarray(a, dtype) for a in (W, X, Y))

        def step(carry, batch):
            w, state = carry
            w, state = oc.apply(tx, jax.grad(loss)(w, *batch), state, w)
            return (w, state), (w, oc.metrics(state))

        _, (ws, shown) = jax.jit(lambda start: jax.lax.scan(step, start, (x, y)))((w, tx.init(w)))
        return jax.tree.map(np.asarray, (ws, shown))


CASES = [case for case in itertools.product(INNERS, LINKS, DELAYS) if case[1] == "plain" or case[0] != "adam"]


@pytest.mark.parametrize("inner, link, delay", CASES, ids=str)
def test_is_stale_gradient_descent(inner, link, delay):
    (rule, make), (law, first) = INNERS[inner], LINKS[link]
    tx = make() if first() is None else oc.chain(first=first(), rest=make())
    ws, shown = trained(oc.delayed(tx, DELAYS[delay], uniform="random" in delay, seed=3))
    delays = shown["delayed.staleness"].astype(int)
    if "random" not in delay:
        of_workers = DELAYS[delay] if isinstance(DELAYS[delay], list) else [DELAYS[delay]]
        assert list(delays) == [of_workers[t % len(of_workers)] for t in range(STEPS)]
    assert_agree(ws, paper(rule, law, delays), 1e-10)


def test_random_delays_are_uniform_and_those_of_their_worker():
    tx, params = oc.delayed(oc.sgd(0.1), [1, 4], uniform=True, seed=jax.random.key(5)), {"w": jnp.ones(1)}

    def step(state, _):
        state = tx.update(params, state, params)[1]
        return state, oc.metrics(state)["delayed.staleness"]

    _, drawn = jax.jit(lambda state: jax.lax.scan(step, state, length=4000))(tx.init(params))
    for worker, most in enumerate([1, 4]):
        shares = np.bincount(np.asarray(drawn[worker::2], int), minlength=most + 1) / 2000
        np.testing.assert_allclose(shares, 1 / (most + 1), atol=0.04)


def test_without_a_delay_it_is_the_transformation_and_keeps_nothing():
    params, inner = tree(0), oc.adamw(0.1)
    tx = oc.delayed(inner, 0)
    assert set(tx.init(params)["delayed"]) == {"count", "taken", "waited", "staleness"}
    ends = []
    for each in (tx, inner):
        step = jax.jit(lambda g, state, params, each=each: oc.apply(each, g, state, params))
        p, state = params, each.init(params)
        for seed in range(4):
            p, state = step(tree(seed), state, p)
        ends.append((p, state["inner"]["links"] if each is tx else state["links"]))
    chex.assert_trees_all_equal(*ends)


def test_nothing_happens_before_a_gradient_has_arrived():
    tx = oc.delayed(oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(lambda step: 0.1 * (step + 1))), 2)
    params, shown = tree(0), []
    state = start = tx.init(params)
    for t in range(2):
        updates, state = tx.update(tree(t), state, params)
        chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, params))
        chex.assert_trees_all_equal(state["inner"], start["inner"])
        shown.append(oc.metrics(state))
    _, state = tx.update(tree(2), state, params)
    shown.append(oc.metrics(state))
    assert [int(x["delayed.waited"]) for x in shown] == [1, 2, 2]
    assert [int(x["delayed.taken"]) for x in shown] == [0, 0, 1]
    assert state["inner"]["links"]["adam"]["scale_by_adam"]["count"] == 1 and state["inner"]["step"] == 1
    np.testing.assert_allclose(shown[-1]["lr.learning_rate"], 0.1, rtol=1e-6)  # schedules count the steps taken


def test_a_hyperparameter_is_overridden_where_the_gradient_arrives():
    tx, params = oc.delayed(oc.sgd(0.1), 1), {"w": jnp.zeros(2)}
    state = tx.init(params)
    for _ in range(2):
        params, state = oc.apply(tx, {"w": jnp.ones(2)}, state, params, hyper={"lr.learning_rate": 0.5})
    np.testing.assert_allclose(params["w"], -0.5)


def test_it_stands_within_guard_and_accumulate_and_around_optax():
    """A gradient that is not finite goes into no ring where the guard stands outside."""
    params, nan = {"w": jnp.zeros(2)}, {"w": jnp.full(2, jnp.nan)}
    grads = [{"w": jnp.full(2, float(i))} for i in (1, 2, 3, 4)]
    tx = oc.guard(oc.delayed(optax.sgd(1.0), 1))
    state = tx.init(params)
    for g in (grads[0], nan, grads[1], grads[2]):
        params, state = oc.apply(tx, g, state, params)
    np.testing.assert_allclose(params["w"], -3.0)
    tx, params = oc.accumulate(oc.delayed(oc.sgd(1.0), 1), 2), {"w": jnp.zeros(2)}
    state = tx.init(params)
    for g in grads:
        params, state = oc.apply(tx, g, state, params)
    np.testing.assert_allclose(params["w"], -1.5)


def test_a_real_loop_gives_what_the_simulator_gives():
    """The links read two extra arguments, whoever gives them."""
    links = oc.chain(oc.compensate_delay(0.5), oc.scale_by_staleness(), oc.sgd(RATE))
    simulated, _ = trained(oc.delayed(links, 2))
    with jax.enable_x64(True):
        iterates, state = [jnp.asarray(W)], links.init(jnp.asarray(W))
        for t in range(STEPS):
            w = iterates[-1]
            if t >= 2:
                g = jnp.asarray(gradient(np.asarray(iterates[t - 2]), t - 2))
                w, state = oc.apply(links, g, state, w, stale_params=iterates[t - 2], staleness=2)
            iterates.append(w)
    assert_agree(np.stack(iterates[1:]), simulated, 1e-12)


def test_parameters_are_kept_only_for_those_who_read_them():
    params = tree(0)
    compensated = oc.chain(oc.compensate_delay(), oc.sgd(0.1))
    assert "params" not in oc.delayed(oc.adam(0.1), 2).init(params)["delayed"]
    assert oc.delayed(compensated, 2).init(params)["delayed"]["params"]["kernel"].shape == (3, 4, 3)
    # The inner one gives them.
    assert "params" not in oc.delayed(oc.delayed(compensated, 2), 2).init(params)["delayed"]
    with pytest.raises(ValueError, match="delayed reads the parameters"):
        tx = oc.delayed(compensated, 2)
        tx.update(params, tx.init(params))


def test_bfloat16_parameters_are_kept_in_float32():
    params = {"w": jnp.full(3, 1.0, jnp.bfloat16)}
    tx = oc.delayed(oc.chain(oc.compensate_delay(), oc.sgd(0.1)), 1)
    state = tx.init(params)
    for _ in range(3):
        params, state = oc.apply(tx, {"w": jnp.full(3, 0.3, jnp.bfloat16)}, state, params)
    assert params["w"].dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(state["delayed"])} == {jnp.dtype("float32"), jnp.dtype("int32")}
    np.testing.assert_array_equal(state["delayed"]["gradients"]["w"][0], np.float32(jnp.bfloat16(0.3)))


@pytest.mark.parametrize("first", [None, oc.compensate_delay()], ids=["plain", "compensated"])
def test_a_ring_is_written_in_place(first):
    """A step reads one entry of each ring and writes one, whatever the delay, and stores nothing besides."""
    params = {"w": jnp.zeros((256, 256))}
    inner = oc.sgd(0.1) if first is None else oc.chain(first, oc.sgd(0.1))
    near, far = (counts(oc.delayed(inner, delay), params) for delay in (1, 16))
    assert far.accessed <= near.accessed + 0.1 and far.temporary < 0.1
    assert far.accessed <= counts(oc.guard(oc.sgd(0.1)), params).accessed + (8 if first is None else 28)


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_a_ring_is_laid_out_as_the_parameters(kind):
    mesh = jax.make_mesh((4,), ("x",), (getattr(jax.sharding.AxisType, kind),))
    layout, params = jax.NamedSharding(mesh, jax.P(None, "x")), {"w": jnp.arange(32.0).reshape(4, 8)}
    tx = oc.delayed(oc.chain(oc.compensate_delay(), oc.momentum(0.1)), [3, 2])
    sharded = jax.device_put(params, layout)
    first = jax.jit(tx.init, out_shardings=oc.shardings(tx, sharded))(sharded)
    step, ends = jax.jit(lambda g, state, params: oc.apply(tx, g, state, params)), []
    for p, state in ((sharded, first), (params, tx.init(params))):
        for _ in range(6):
            p, state = step(p, state, p)
        ends.append((p, state))
    chex.assert_trees_all_close(*jax.tree.map(np.asarray, ends), rtol=1e-6)
    for ring in ("gradients", "params"):
        assert ends[0][1]["delayed"][ring]["w"].sharding.shard_shape((4, 4, 8)) == (4, 4, 2)


def test_lanes_with_seeds_of_their_own():
    params = {"w": jnp.ones(2)}

    def train(seed):
        tx = oc.delayed(oc.sgd(0.1), 3, uniform=True, seed=seed)
        carry, _ = jax.lax.scan(
            lambda c, _: (oc.apply(tx, c[0], c[1], c[0]), None), (params, tx.init(params)), length=9
        )
        return carry

    lanes = jax.jit(jax.vmap(train))(jnp.arange(3))
    for i in range(3):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], lanes), train(i), rtol=1e-6)


def test_states_around_packed_leaves_are_taken_apart_and_packed_again():
    params = {"a": jnp.arange(12.0).reshape(4, 3), "b": jnp.ones(3), "c": jnp.ones(3)}
    tx, alone = (oc.delayed(inner, 2) for inner in (oc.packed(oc.adam(0.1)), oc.adam(0.1)))
    together, ends = oc.pack(tx, params), []
    for each, p in ((tx, together), (alone, params)):
        state = each.init(p)
        for _ in range(4):
            p, state = oc.apply(each, p, state, p)
        ends.append((p, state))
    (packed, state), (_, expected) = ends
    apart = oc.state_by_parameters(tx, state, packed)
    chex.assert_trees_all_close(apart["delayed"], expected["delayed"], rtol=1e-6)
    chex.assert_trees_all_equal(oc.state_by_owners(tx, apart, packed), state)


def test_schedules_go_on_where_a_delay_comes_or_goes():
    params = {"w": jnp.ones(2)}
    tx = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(oc.linear(0.0, 1.0, 10)))
    stale, ends = oc.delayed(tx, 2), {}
    for each in (tx, stale):
        state = each.init(params)
        for _ in range(6):
            _, state = each.update(params, state, params)
        ends[each] = state
    there, report = oc.migrate_state(ends[tx], stale, params)
    assert report.continued == (("(delayed).taken", 6),) and there["delayed"]["count"] == 0
    back, report = oc.migrate_state(ends[stale], tx, params)
    assert report.continued == () and back["step"] == 4
    for _ in range(3):
        _, there = stale.update(params, there, params)
    _, back = tx.update(params, back, params)
    np.testing.assert_allclose(oc.metrics(there)["lr.learning_rate"], 0.6, rtol=1e-6)
    np.testing.assert_allclose(oc.metrics(back)["lr.learning_rate"], 0.4, rtol=1e-6)
    assert oc.metrics(there)["delayed.waited"] == 2


@pytest.mark.parametrize("delay", [[], -1, 1.5, True, [1, -1], "3", None], ids=str)
def test_a_bad_delay_is_refused(delay):
    with pytest.raises(ValueError, match="delayed: delay must be a whole number"):
        oc.delayed(oc.sgd(0.1), delay)


def test_what_cannot_be_delayed_is_refused():
    with pytest.raises(ValueError, match=r"sam within it reads `grad_fn`.*let it stand around: sam\(delayed"):
        oc.delayed(oc.guard(oc.sam(oc.sgd(0.1))), 2)
    with pytest.raises(ValueError, match="gradients of rows, .* no ring has places; leave out rows"):
        oc.delayed(oc.rows(oc.sgd(0.1)), 2)
    with pytest.raises(ValueError, match="rows: link 'delayed' is not a single technique"):
        oc.rows(oc.delayed(oc.sgd(0.1), 2))
    params = {"w": jnp.ones(3)}
    tx = oc.sam(oc.delayed(oc.sgd(0.1), 1))
    after, _ = oc.apply(tx, params, tx.init(params), params, grad_fn=lambda p: p)
    chex.assert_trees_all_equal(after, params)
