"""Touched rows: against dense references, step by step."""

import re
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import RULES, build

import optchain as oc
from optchain.core.numbers import means
from optchain.core.rule import core_of
from optchain.embeddings.sleep import Rests, Sleeps

N, D, IDS, STEPS = 40, 3, 6, 25


def tree(seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    return {"embed": {"embedding": jax.random.normal(keys[0], (N, D))}, "w": jax.random.normal(keys[1], (D, 2))}


def gradients(steps=STEPS, ids=IDS, rows=N):
    """For each step a tree of gradients, with repeated and padded rows."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(steps):
        indices = rng.choice(np.r_[rng.integers(0, rows, 3 * ids // 4 or 1), rows, -1], ids)
        values = jnp.asarray(rng.normal(size=(ids, D)), jnp.float32)
        rowed = oc.RowGradient(jnp.asarray(indices, jnp.int32), values, rows)
        found.append({"embed": {"embedding": rowed}, "w": jnp.asarray(rng.normal(size=(D, 2)), jnp.float32)})
    return found


def densely(grads):
    return {"embed": {"embedding": grads["embed"]["embedding"].dense()}, "w": grads["w"]}


def run(tx, found, params=None, step=None):
    params = tree() if params is None else params
    state, step = tx.init(params), step or jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    for grads in found:
        params, state = step(grads, state, params)
    return params, state


EXACT = {
    "sgd": lambda: oc.sgd(0.1),
    "adagrad": lambda: oc.adagrad(0.1),
    "clipped adagrad": lambda: oc.chain(oc.clip_by_global_norm(0.5), oc.adagrad(0.1)),
    "row-wise adagrad": lambda: oc.chain(oc.scale_by_rowwise_adagrad(), oc.scale_by_learning_rate(0.1)),
    "in range": lambda: oc.chain(oc.sgd(0.5), oc.keep_params_in_range(-5.0, 5.0)),
    "ftrl": lambda: oc.groups(oc.sgd(0.1), {"*embedding": oc.ftrl(0.5, l1=0.01), "*": {}}),
    "groups": lambda: oc.groups(oc.sgd(0.1), {"*embedding": oc.adagrad(0.5), "*": {"learning_rate": 0.5}}),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_is_the_dense_step(name):
    found = gradients()
    rowed, _ = run(oc.rows(EXACT[name](), mode="exact"), found)
    dense, _ = run(EXACT[name](), map(densely, found))
    chex.assert_trees_all_close(rowed, dense, rtol=2e-6, atol=1e-6)


def adam_of_sleepers(found, rate, decay, b1=0.9, b2=0.999, eps=1e-8):
    """AdamW in float64 on a dense table, in which a row without a gradient decays and does not move otherwise."""
    p = np.asarray(tree()["embed"]["embedding"], np.float64)
    mu, nu = np.zeros_like(p), np.zeros_like(p)
    for t, grads in enumerate(found, 1):
        rowed = grads["embed"]["embedding"]
        g = np.zeros_like(p)
        inside = (rowed.indices >= 0) & (rowed.indices < N)
        np.add.at(g, np.asarray(rowed.indices)[inside], np.asarray(rowed.values, np.float64)[inside])
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        touched = np.isin(np.arange(N), np.asarray(rowed.indices))[:, None]
        u = (mu / (1 - b1**t)) / (np.sqrt(nu / (1 - b2**t)) + eps)
        p = p - rate(t - 1) * (np.where(touched, u, 0) + decay * p)
    return p, mu, nu


@pytest.mark.parametrize("rate", [lambda t: 0.01, lambda t: 0.05 / (1 + t)], ids=["constant", "scheduled"])
def test_decay_corrected_adam_is_the_dense_law_of_sleeping_rows(rate):
    found = gradients()
    tx = oc.rows(oc.adamw(rate, weight_decay=0.3))
    params, state = run(tx, found)
    table, mu, nu = adam_of_sleepers(found, rate, 0.3)
    np.testing.assert_allclose(oc.awake_params(state, params)["embed"]["embedding"], table, rtol=1e-6, atol=1e-6)
    nothing = oc.RowGradient(jnp.arange(N), jnp.zeros((N, D)), N)
    grads = {"embed": {"embedding": nothing}, "w": jnp.zeros((D, 2))}
    _, state = oc.apply(tx, grads, state, params)
    slots = state["inner"]["inner"]["links"]["adam"]["scale_by_adam"]
    np.testing.assert_allclose(slots["mu"]["embed"]["embedding"], 0.9 * mu, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slots["nu"]["embed"]["embedding"], 0.999 * nu, rtol=1e-5, atol=1e-7)


def test_decay_catches_up_over_a_hundred_thousand_steps():
    tx = oc.rows(oc.adamw(1e-3, weight_decay=1e-2))
    params = tree()
    one = {"embed": {"embedding": oc.RowGradient(jnp.array([1]), jnp.ones((1, D)), N)}, "w": jnp.zeros((D, 2))}

    @jax.jit
    def many(params, state):
        step = lambda carry, _: (oc.apply(tx, one, carry[1], carry[0]), None)  # noqa: E731
        return jax.lax.scan(step, (params, state), length=100_000)[0]

    after, state = many(params, tx.init(params))
    after = oc.awake_params(state, after)
    wanted = np.asarray(params["embed"]["embedding"], np.float64)[2:] * (1 - 1e-5) ** 100_000
    np.testing.assert_allclose(after["embed"]["embedding"][2:], wanted, rtol=1e-5)


def test_lazy_leaves_rows_at_rest_alone():
    found = gradients()
    tx = oc.rows(oc.adam(0.1), mode="lazy")
    p, mu, nu = (np.zeros((N, D)) for _ in range(3))
    p += np.asarray(tree()["embed"]["embedding"])
    for t, grads in enumerate(found, 1):
        rowed = grads["embed"]["embedding"]
        g = np.asarray(rowed.dense(), np.float64)
        for r in {int(i) for i in rowed.indices if 0 <= i < N}:
            mu[r], nu[r] = 0.9 * mu[r] + 0.1 * g[r], 0.999 * nu[r] + 0.001 * g[r] ** 2
            p[r] -= 0.1 * (mu[r] / (1 - 0.9**t)) / (np.sqrt(nu[r] / (1 - 0.999**t)) + 1e-8)
    params, _ = run(tx, found)
    np.testing.assert_allclose(params["embed"]["embedding"], p, rtol=1e-5, atol=1e-6)


@pytest.mark.oracles
def test_lazy_adam_is_that_of_torch():
    torch = pytest.importorskip("torch")
    found = gradients()
    table = torch.nn.Parameter(torch.tensor(np.array(tree()["embed"]["embedding"])))
    theirs = torch.optim.SparseAdam([table], lr=0.1)
    for grads in found:
        rowed = grads["embed"]["embedding"]
        inside = np.asarray((rowed.indices >= 0) & (rowed.indices < N))
        indices, values = (torch.tensor(np.array(x)[inside]) for x in (rowed.indices, rowed.values))
        table.grad = torch.sparse_coo_tensor(indices[None], values, (N, D), check_invariants=True).coalesce()
        theirs.step()
    params, _ = run(oc.rows(oc.adam(0.1), mode="lazy"), found)
    np.testing.assert_allclose(params["embed"]["embedding"], table.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["lazy", "decay_corrected"])
def test_the_whole_table_at_once_is_the_same(mode, monkeypatch):
    found, tx = gradients(), oc.rows(oc.adamw(0.1, weight_decay=0.1), mode=mode)
    few, state = run(tx, found)
    monkeypatch.setattr("optchain.embeddings.touched.CROSSOVER", 0.0)
    many, other = run(tx, found)
    chex.assert_trees_all_close((few, state), (many, other), rtol=1e-6, atol=1e-7)


def test_through_update_rows_leave_as_rows():
    tx = oc.rows(oc.adamw(0.1), mode="lazy")
    grads, params = gradients(1)[0], tree()
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params)
    applied, other = jax.jit(lambda: oc.apply(tx, grads, tx.init(params), params))()
    assert isinstance(updates["embed"]["embedding"], oc.RowGradient)
    chex.assert_trees_all_close(state, other)
    chex.assert_trees_all_close(optax.apply_updates(params, densely(updates)), applied, rtol=1e-6)


def test_guarded_and_scanned():
    found = gradients()
    found[3]["embed"]["embedding"] = jax.tree.map(
        lambda x: x * jnp.nan if x.dtype == jnp.float32 else x, found[3]["embed"]["embedding"]
    )
    tx = oc.guard(oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(0.1))))
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *found)

    @jax.jit
    def scanned(params):
        return jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), (params, tx.init(params)), stacked)[0]

    params, state = scanned(tree())
    plain, _ = run(oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(0.1))), [*found[:3], *found[4:]])
    chex.assert_trees_all_close(params, plain, rtol=1e-5, atol=1e-6)
    assert oc.metrics(state)["guard.rejected"] == 1


@pytest.mark.parametrize("through", ["apply", "update"])
def test_accumulated_rows_are_those_of_one_batch(through):
    found, inner = gradients(6), oc.rows(oc.adamw(0.1))
    found[4] = found[4] | {"w": jnp.full((D, 2), jnp.nan)}  # dropped, with its rows
    tx, params = oc.accumulate(inner, 3, rows=IDS + 1), tree()

    def updated(g, s, p):
        u, s = tx.update(g, s, p)
        return jax.tree.map(lambda p, u: p + (u.dense() if isinstance(u, oc.RowGradient) else u), p, u), s

    params, state = run(tx, found, step=jax.jit(updated) if through == "update" else None)

    def joined(part):
        together = sum((g["embed"]["embedding"] for g in part[1:]), part[0]["embed"]["embedding"])
        mean = oc.RowGradient(together.indices, together.values / len(part), N)
        return {"embed": {"embedding": mean}, "w": sum(g["w"] for g in part) / len(part)}

    wanted, _ = run(inner, [joined(found[:3]), joined([found[3], found[5]])])
    chex.assert_trees_all_close(params, wanted, rtol=1e-5, atol=1e-6)
    assert oc.metrics(state)["accumulate.dropped"] == 1


def test_rows_without_room_say_so():
    grads, params = gradients(1)[0], tree()
    for tx, message in (
        (oc.accumulate(oc.rows(oc.sgd(0.1)), 2), "accumulate(rows(tx, tables), every, rows=6) makes room"),
        (oc.accumulate(oc.guard(oc.rows(oc.sgd(0.1))), 2, rows=4), "has 6 rows, but there is room for 4"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            oc.apply(tx, grads, tx.init(params), params)
    with pytest.raises(ValueError, match="which is not in"):
        oc.accumulate(oc.sgd(0.1), 2, rows=4)
    with pytest.raises(ValueError, match="must be a constant"):
        oc.accumulate(oc.rows(oc.sgd(0.1)), lambda step: 2, rows=4)


def test_the_norm_of_a_guard_is_that_of_summed_rows():
    grads = gradients(1)[0]
    tx = oc.guard(oc.rows(oc.sgd(0.1)))
    _, state = oc.apply(tx, grads, tx.init(tree()), tree())
    np.testing.assert_allclose(oc.metrics(state)["guard.norm"], optax.tree.norm(densely(grads)), rtol=1e-6)


@pytest.mark.full
def test_a_sweep_by_vmap():
    found, tx = gradients(5), oc.rows(oc.adamw(0.1))

    def swept(rate):
        params, state = tree(), tx.init(tree())
        for grads in found:
            params, state = oc.apply(tx, grads, state, params, hyper={"lr.learning_rate": rate})
        return params

    rates = jnp.array([0.1, 0.01])
    together = jax.jit(jax.vmap(swept))(rates)
    one = jax.jit(swept)
    for i in range(2):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], together), one(rates[i]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=str)
def test_row_sharded_tables_give_the_same(axis):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(axis,))
    tx, found = oc.rows(oc.adamw(0.1, weight_decay=0.1)), gradients(5)
    wanted, _ = run(tx, found)
    layout = {"embed": {"embedding": jax.NamedSharding(mesh, jax.P("rows"))}, "w": jax.NamedSharding(mesh, jax.P())}
    with jax.set_mesh(mesh):
        placed = jax.device_put(tree(), layout)
        state = jax.jit(tx.init, out_shardings=oc.shardings(tx, placed))(placed)
        step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
        assert state["inner"]["catch_up"]["last"]["embed"]["embedding"].sharding.spec == jax.P("rows")
        text = step.lower(found[0], state, placed).compile().as_text()
        assert f"f32[{N // 8},{D}]" in text and f"f32[{N},{D}]" not in text  # no device ever holds a whole table
        for grads in found:
            placed, state = step(grads, state, placed)
    assert placed["embed"]["embedding"].sharding.spec[0] == "rows"
    chex.assert_trees_all_close(jax.device_get(placed), jax.device_get(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: oc.rows(oc.adamw(1e-3, weight_decay=0.1), mode="lazy"),
        lambda: oc.rows(oc.adamw(1e-3, weight_decay=0.1)),
        lambda: oc.guard(oc.rows(oc.adamw(1e-3))),
        lambda: oc.accumulate(oc.rows(oc.adamw(1e-3)), 4, rows=64),
    ],
    ids=["lazy", "decay_corrected", "guard", "accumulate"],
)
def test_temporaries_do_not_grow_with_the_table(build):
    tx, counts = build(), []
    for rows in (10_000, 100_000):
        params = {"embedding": jax.ShapeDtypeStruct((rows, 16), jnp.float32)}
        ids, values = jax.ShapeDtypeStruct((64,), jnp.int32), jax.ShapeDtypeStruct((64, 16), jnp.float32)
        grads = {"embedding": oc.RowGradient(ids, values, rows)}
        step = jax.jit(lambda p, s, g: oc.apply(tx, g, s, p), donate_argnums=(0, 1))
        compiled = step.lower(params, jax.eval_shape(tx.init, params), grads).compile()
        counts.append(compiled.memory_analysis().temp_size_in_bytes)
    assert counts[0] == counts[1] < 200 * 64 * 16


def updated(rule, g, s, p, t):
    """The update and the slots; the weight that a mean has seen does not enter the slots."""
    seen = {name: jnp.float32(0.5) for name in means(type(rule))}
    given = dict.fromkeys(rule.extras) | ({"seen": SimpleNamespace(**seen)} if seen else {})
    return rule.update(g, s, p, jnp.float32(t), **given)


def zero(rule, s, p, k):
    for t in range(1, k + 1):
        _, s = updated(rule, jnp.zeros_like(p), s, p, 20 + t)
    return s


SLEEPERS = [name for name, rule in RULES.items() if issubclass(rule, Sleeps) and core_of(rule, 2) == 0]


@pytest.mark.parametrize("name", SLEEPERS)
def test_sleep_is_k_updates_without_a_gradient(name):
    rule, p = build(name).link.rule, jax.random.normal(jax.random.key(0), (4, 3))
    s = rule.init(p)
    for t in range(1, 4):
        _, s = updated(rule, jax.random.normal(jax.random.key(t), p.shape), s, p, t)
    chex.assert_trees_all_equal(rule.sleep(s, jnp.zeros((4, 1))), s)
    for k in (1, 5):
        slept = rule.sleep(s, jnp.full((4, 1), k, jnp.float32))
        chex.assert_trees_all_close(slept, zero(rule, s, p, k), rtol=2e-6)
    if isinstance(rule, Rests) and not rule.shrinks and not rule.needs_params:
        u, _ = updated(rule, jnp.zeros_like(p), s, p, 4)
        assert not jnp.any(u)


def optax_link():
    return oc.chain(a=optax.scale_by_adam(), b=oc.scale(-0.1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: oc.rows(oc.muon(0.1)), "mixes the rows of a table: its core_ndim is 2"),
        (lambda: oc.rows(oc.lamb(0.1)), "link '.*trust.*' mixes the rows"),
        (lambda: oc.rows(oc.adam(0.1), mode="exact"), "link 'adam' changes rows whose gradient is 0"),
        (lambda: oc.rows(oc.adabelief(0.1)), 'has no law for rows at rest; mode="lazy" lets them rest'),
        (lambda: oc.rows(oc.prodigy(1.0)), "looks across all rows"),
        (lambda: oc.rows(optax_link()), "link 'a' is not a single technique"),
        (lambda: oc.rows(optax.adam(0.1)), "tx must be built from optchain techniques"),
        (lambda: oc.rows(oc.guard(oc.adam(0.1))), "put wrappers outside of rows"),
        (lambda: oc.rows(oc.chain(oc.add_decayed_weights(0.1), oc.adam(0.1))), "comes after the decay of"),
        (lambda: oc.rows(oc.adam(0.1), mode="lasy"), "did you mean 'lazy'"),
        (lambda: oc.rows(oc.adam(0.1), tables=3), "tables must be a pattern"),
        (lambda: oc.rows(oc.adam(0.1), tables="*embeding").init(tree()), "did you mean 'embed/embedding'"),
    ],
)
def test_what_cannot_run_on_rows_says_so(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_takes_no_rows_says_so():
    grads, params = gradients(1)[0], tree()
    plain = (
        oc.adam(0.1),
        oc.scale(-0.1),
        optax.adam(0.1),
        oc.lookahead(oc.sgd(0.1), 2, 0.5),
        oc.groups(oc.sgd(0.1), {"*": {}}),
    )
    for tx in plain:
        with pytest.raises(ValueError, match="leaf 'embed/embedding' is one; wrap the whole transformation: oc.rows"):
            oc.apply(tx, grads, tx.init(params), params)
    for tx in (*plain[:2], *plain[3:], oc.cautious(oc.rows(oc.scale_by_adam()))):
        with pytest.raises(ValueError, match="takes no gradients of rows, and leaf 'embed/embedding' is one"):
            tx.update(grads, tx.init(params), params)
    tx = oc.rows(oc.adam(0.1), tables="w")
    with pytest.raises(ValueError, match="'embed/embedding' has a gradient of rows and is none of the tables w"):
        oc.apply(tx, grads, tx.init(params), params)
    tx, wrong = oc.rows(oc.adam(0.1)), tree()
    wrong["embed"]["embedding"] = jnp.ones((N + 1, D))
    with pytest.raises(ValueError, match="has shape"):
        oc.apply(tx, grads, tx.init(wrong), wrong)


def test_the_tables_of_a_transformation_are_found_through_its_wrappers():
    inner = oc.rows(oc.adam(0.1), tables=["*embedding", "w"])
    assert oc.row_tables(oc.guard(oc.accumulate(inner, 2, rows=3))) == ("*embedding", "w")
    assert oc.row_tables(oc.guard(oc.adam(0.1))) == oc.row_tables(optax.adam(0.1)) == ()
