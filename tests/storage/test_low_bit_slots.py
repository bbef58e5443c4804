"""Slots in codes: any technique of means, squares and sums steps nearly as in float32, on a part of the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import RULES, build, updated
from tiers import one_of_each

import optchain as oc
from optchain.storage import chunks

DECLARED = [name for name, rule in RULES.items() if rule.kinds]


def params_of(dtype=jnp.float32):
    shapes = {"deep": {"kernel": (16, 256)}, "conv": (3, 3, 8, 24), "bias": (24,)}
    keys = iter(jax.random.split(jax.random.key(0), 3))
    return jax.tree.map(
        lambda shape: jax.random.normal(next(keys), shape).astype(dtype), shapes, is_leaf=lambda x: isinstance(x, tuple)
    )


def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype, tree)


def gradients(params, seed):
    return jax.tree.map(lambda p: jax.random.normal(jax.random.key(seed), p.shape, p.dtype), params)


def moved(tx, params, steps=6, **extra):
    """The parameters and the state after some steps."""
    state = tx.init(params)
    step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, **extra))
    for seed in range(steps):
        params, state = step(gradients(params, seed), state, params)
    return params, state


def distance(a, b, origin):
    """How far two trees are from each other, as a part of the way from the origin."""
    norm = lambda x: float(optax.tree.norm(jax.tree.map(lambda a: a.astype(jnp.float32), x)))  # noqa: E731
    return norm(jax.tree.map(jnp.subtract, a, b)) / norm(jax.tree.map(jnp.subtract, b, origin))


@pytest.mark.parametrize(("slots", "size", "error"), [("int8", 2.1, 0.05), ("int16", 4.1, 0.01), ("int4", 1.2, 0.4)])
def test_adam_is_near_float32_and_its_state_is_small(slots, size, error):
    params = {"w": jax.random.normal(jax.random.key(1), (64, 256))}
    tx = oc.precision(oc.adamw(1e-3), slots=slots)
    after, state = moved(tx, params)
    assert distance(after, moved(oc.adamw(1e-3), params)[0], params) < error
    assert sum(x.nbytes for x in jax.tree.leaves(state)) / params["w"].size < size


@pytest.mark.parametrize("name", one_of_each(DECLARED, lambda name: "mu" in RULES[name].kinds))
def test_every_technique_with_declared_slots_steps_in_codes(name):
    params, plain = {"w": params_of()["deep"]["kernel"], "v": jnp.ones(24)}, build(name, mask=oc.is_kernel)
    tx = oc.precision(plain, slots="int8", min_size=0)
    state, plain_state = tx.init(params), plain.init(params)
    step, plain_step = (jax.jit(lambda g, s, p, t=t: updated(t, g, s, p)) for t in (tx, plain))
    u = v = params
    for seed in range(3):
        u, after = step(gradients(params, seed), state, params)
        v, plain_state = plain_step(gradients(params, seed), plain_state, params)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
        assert dtypes(after) == dtypes(state)
        state = after
    norm = optax.tree.norm(v)
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, u, v))) < 0.3 * float(norm)
    factored = name in ("scale_by_factored_rms", "scale_by_came")  # without a slot like the parameter
    assert factored or any(x.dtype in (jnp.int8, jnp.uint8, jnp.int16) for x in jax.tree.leaves(state))


def test_parts_of_a_leaf_make_what_the_whole_makes(monkeypatch):
    params = {"even": jnp.ones((96, 256)), "odd": jnp.ones((50, 301)), "stack": jnp.ones((3, 32, 130))}
    tx = oc.precision(oc.adam(1e-2), slots="int8")
    whole, state = moved(tx, params)
    monkeypatch.setattr(chunks, "CPU", 2**10)
    parts, other = moved(tx, params)
    for a, b in zip(jax.tree.leaves((whole, state)), jax.tree.leaves((parts, other)), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype == np.float32:
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)
        else:
            assert np.mean(a != b) < 1e-2  # where another fusion rounds another way


@pytest.mark.parametrize("slots", ["int8", "int4"])
@pytest.mark.parametrize("shape", [(1024, 1024), (4, 512, 512), (2**20,)])
def test_temporaries_are_small_where_the_leaf_is_large(slots, shape):
    tx, params = oc.precision(oc.scale_by_adam(), slots=slots), {"w": jax.ShapeDtypeStruct(shape, jnp.float32)}
    step = jax.jit(lambda s, g: tx.update(g, s)[::-1], donate_argnums=(0, 1))
    compiled = step.lower(jax.eval_shape(tx.init, params), params).compile()
    at_once = compiled.memory_analysis().temp_size_in_bytes
    assert at_once < 0.1 * 2**24  # the same for a leaf of any size: 0.1 bytes of one with 16 million entries


def test_the_first_codes_are_not_computed_while_compiling():
    tx, params = oc.precision(oc.scale_by_adam(), slots="int8"), {"w": jax.ShapeDtypeStruct((64, 128), jnp.float32)}
    compiled = jax.jit(tx.init).lower(params).compile()
    assert " reduce(" in compiled.as_text()  # XLA's evaluation of it took seconds for a million entries


def test_small_leaves_and_those_of_the_mask_stay_in_float32():
    params = params_of()
    codes = oc.precision(oc.scale_by_adam(), slots="int8", min_size=1000, mask="conv").init(params)
    codes = codes["scale_by_adam"]["mu"]["codes"]
    kinds = {"deep": {"kernel": jnp.int8}, "conv": jnp.float32, "bias": jnp.float32}
    assert dtypes(codes) == jax.tree.map(jnp.dtype, kinds)


def test_a_slow_mean_and_a_drift_have_16_bits_and_scheduled_decays_too():
    params = {"w": jnp.ones((64, 128))}

    def words(tx, **how):
        links = oc.precision(tx, **({"slots": "int8"} | how)).init(params)
        slots = next(iter(links.values()))
        return {name: x["codes"]["w"].dtype.name for name, x in slots.items() if name not in ("count", "seen")}

    assert words(oc.scale_by_adam()) == {"mu": "int8", "nu": "uint8"}
    assert words(oc.scale_by_adam(b1=0.995)) == {"mu": "int16", "nu": "uint8"}
    assert words(oc.scale_by_adam(b1=lambda t: 0.9)) == {"mu": "int16", "nu": "uint8"}
    assert words(oc.scale_by_adam(b1=lambda t: 0.9), slots={"mu": "int8", "nu": "int8"})["mu"] == "int8"
    assert words(oc.scale_by_ademamix()) == {"mu": "int8", "slow": "int16", "nu": "uint8"}


@pytest.mark.parametrize(
    ("tx", "slots", "message"),
    [
        (oc.scale_by_shampoo(), {"left": "int8"}, "the slot 'left' of scale_by_shampoo is not a mean"),
        (oc.scale_by_muon(), {"mu": "int4"}, "the slot 'mu' of scale_by_muon is a mean and bears int8, not int4"),
        (oc.scale_by_ademamix(), {"slow": "int8"}, "is a drift and bears int16, not int8"),
        (oc.scale_by_adam(b1=0.999), {"mu": "int8"}, "is a mean with b1=0.999, above 0.99 and bears int16"),
        (oc.scale_by_adam(), {"my": "int8"}, "no link of tx has a slot 'my'; valid: mu, nu"),
        (oc.scale_by_adam(), {"mu": "int7"}, r"slots\['mu'\] is 'int7'; did you mean 'int"),
        (oc.precision(oc.scale_by_adam(), slots="int8"), "int4", "stores mu:int8 nu:int8 already"),
    ],
)
def test_what_bears_no_code_is_refused_by_name(tx, slots, message):
    with pytest.raises(ValueError, match=message):
        oc.precision(tx, slots=slots)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_guard_outside_sees_what_is_not_finite(bad):
    params = {"w": jnp.ones((64, 128))}
    tx = oc.guard(oc.precision(oc.adam(0.1), slots="int8"))
    grads = {"w": jnp.ones((64, 128)).at[3, 5].set(bad)}
    after, _ = oc.apply(tx, grads, tx.init(params), params)
    np.testing.assert_array_equal(after["w"], params["w"])


def test_a_state_in_another_format_is_refused_by_name():
    params = {"w": jnp.ones((64, 128))}
    coded, plain = oc.precision(oc.adam(0.1), slots="int8"), oc.adam(0.1)
    with pytest.raises(ValueError, match="the slot 'mu' is in float32 in this state, and this transformation keeps"):
        oc.apply(coded, params, plain.init(params), params)
    with pytest.raises(ValueError, match="the slot 'mu' is in codes in this state"):
        oc.apply(plain, params, coded.init(params), params)


@pytest.mark.parametrize(
    "around",
    [
        lambda tx: oc.guard(tx, loss_scale=8.0),
        lambda tx: oc.accumulate(tx, 2),
        lambda tx: oc.groups(oc.sgd(0.1), {"deep/*": tx, "*": {}}),
        lambda tx: oc.over_layers(tx, "deep/*"),
        lambda tx: optax.chain(tx, optax.scale(1.0)),
        lambda tx: oc.lookahead(tx, 2, 0.5),
    ],
)
def test_wrappers_around_and_within_take_codes(around):
    params = params_of()
    inside = around(oc.adam(1e-2))
    within = [] if type(inside) is optax.GradientTransformationExtraArgs else [oc.precision(inside, slots="int8")]
    for tx in (around(oc.precision(oc.adam(1e-2), slots="int8")), *within):
        after, state = moved(tx, params)
        assert distance(after, moved(inside, params)[0], params) < 0.1
        assert any(x.dtype == jnp.int8 for x in jax.tree.leaves(state))


@pytest.mark.parametrize("mode", ["lazy", "decay_corrected"])
def test_rows_of_tables_in_codes(mode):
    params = {"table": jax.random.normal(jax.random.key(0), (1000, 64)), "w": jnp.ones((64, 128))}

    def trained(tx):
        after, state = params, tx.init(params)
        step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
        for seed in range(5):
            rows = jax.random.randint(jax.random.key(seed), (32,), 0, 1000)
            values = jax.random.normal(jax.random.key(seed), (32, 64))
            grads = {"table": oc.RowGradient(rows, values, 1000), "w": gradients(params, seed)["w"]}
            after, state = step(grads, state, after)
        return after

    exact = trained(oc.rows(oc.adam(1e-2), "table", mode))
    for tx in (
        oc.rows(oc.precision(oc.adam(1e-2), slots="int8"), "table", mode),
        oc.precision(oc.rows(oc.adam(1e-2), "table", mode), slots="int8"),
    ):
        after = trained(tx)
        assert distance(after, exact, params) < 0.05
        still = (exact["table"] == params["table"]).all(1)
        np.testing.assert_array_equal(after["table"][still], params["table"][still])


def test_a_table_of_one_axis_in_codes_is_refused():
    tx = oc.rows(oc.precision(oc.adam(1e-2), slots="int8"), "*")
    with pytest.raises(ValueError, match="stores slots of 'x', which has one axis, in blocks of several rows"):
        tx.init({"x": jnp.ones(10_000)})


def test_a_step_in_parts_has_a_derivative():
    params = {"w": jnp.ones((512, 256))}
    tx = oc.precision(oc.scale_by_adam(eps=1.0), slots="int8")
    state = tx.init(params)
    update = lambda tx, state, c: tx.update({"w": c * params["w"]}, state)[0]["w"].sum()  # noqa: E731
    exact = jax.grad(lambda c: update(oc.scale_by_adam(eps=1.0), oc.scale_by_adam().init(params), c))(0.1)
    assert jnp.isclose(jax.jit(jax.grad(lambda c: update(tx, state, c)))(0.1), exact, rtol=1e-4)
