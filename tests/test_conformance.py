"""Every exported technique under every law: export is registration, there is no list to edit."""

import copy
import functools
import inspect
import math
import pickle

import chex
import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import PRESETS, REGISTERED, RULES, TECHNIQUES, build, chained, kind, tree, updated
from tiers import one_of_each

import optchain as oc
from optchain.core.holes import is_hole
from optchain.core.numbers import numbers, statics
from optchain.core.rule import core_of
from optchain.sharding.axes import Follows, Stacked, followed

every_technique = pytest.mark.parametrize("name", TECHNIQUES)
# What holds for each link holds for a chain of them: the presets' own tests and laws see them together.
every_link = pytest.mark.parametrize("name", [name for name in TECHNIQUES if name not in PRESETS])
every_rule = pytest.mark.parametrize("name", RULES)
# What is said of the runner, and compiled, is said in `make test` of one technique of each kind.
each_kind_of_link = pytest.mark.parametrize("name", one_of_each([n for n in TECHNIQUES if n not in PRESETS], kind))
each_kind_of_rule = pytest.mark.parametrize("name", one_of_each(RULES, kind))


def avals(x):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), x)


def last_updates(tx):
    """The updates of the third step on random gradients."""
    params = given(0)
    grads = jax.tree.map(lambda *xs: jnp.stack(xs), given(1), given(2), given(3))
    _, updates = jax.lax.scan(lambda state, g: updated(tx, g, state, params)[::-1], tx.init(params), grads)
    return jax.tree.map(lambda x: x[-1], updates)


@functools.cache
def given(seed):
    """A tree drawn beforehand: within a compiled function the drawing would be compiled too."""
    with jax.ensure_compile_time_eval():
        return tree(seed)


@each_kind_of_link
def test_a_leaf_without_entries_passes_and_adds_nothing_to_the_state(name):
    tx, empty = build(name), {"kernel": jnp.zeros((0, 3)), "flat": jnp.zeros(0), "stack": jnp.zeros((2, 0, 3))}
    params = {**given(0), "empty": empty}
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(functools.partial(updated, tx), params, state, params)
    chex.assert_trees_all_equal(avals(updates), avals(params))
    chex.assert_trees_all_equal(avals(after), avals(state))
    assert not [path for path, x in jax.tree.leaves_with_path(state) if "empty" in jax.tree_util.keystr(path)]


@every_link
def test_state_is_float32_whatever_the_dtypes_of_parameters_and_gradients(name, strict):
    params, grads = tree(0, jnp.bfloat16), tree(1)
    tx = build(name)
    state = jax.eval_shape(tx.init, params)
    _, after = jax.eval_shape(functools.partial(updated, tx), grads, state, params)
    chex.assert_trees_all_equal(avals(after), avals(state))
    assert all(x.dtype in (jnp.float32, jnp.int32, jnp.bool) for x in jax.tree.leaves(state))


@each_kind_of_rule
def test_other_numbers_make_no_second_trace(name):
    rule = build(name).link.rule
    names = [f"link.{number}" for number in numbers(rule)]
    params, grads, tx = tree(0), tree(1), chained(name)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def shown(hyper, state, params):
        return oc.metrics(updated(tx, grads, state, params, hyper=hyper)[1])

    for factor in (1.0, 0.9, 0.8):
        hyper = {key: factor * float(numbers(rule)[key.removeprefix("link.")]) for key in names}
        metrics = shown(hyper, tx.init(params), params)
        for key in names:
            np.testing.assert_allclose(metrics[key], hyper[key], rtol=1e-6)


@each_kind_of_rule
def test_a_sweep_by_vmap_equals_a_loop(name):
    example = {**{k: p.default for k, p in inspect.signature(TECHNIQUES[name]).parameters.items()}}
    example |= REGISTERED[name].example
    values = {key: float(example[key]) for key in numbers(build(name).link.rule)}

    def train(factor):
        return last_updates(build(name, **{key: factor * value for key, value in values.items()}))

    factors = jnp.array([1.0, 0.95, 0.5])
    swept, one = (jax.jit(run) for run in (jax.vmap(train), train))
    for i, updates in enumerate(map(one, factors)):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], swept(factors)), updates, rtol=2e-5, atol=1e-6)


@each_kind_of_rule
def test_a_schedule_drives_any_number(name):
    values = numbers(build(name).link.rule)
    schedules = {number: lambda step, value=value: value * 0.5**step for number, value in values.items()}
    tx = oc.chain(link=build(name, **schedules))
    step = jax.jit(lambda g, state, params: updated(tx, g, state, params)[1])
    state, params = tx.init(tree(0)), tree(0)
    for t in range(3):
        state = step(tree(t), state, params)
        for number, value in values.items():
            np.testing.assert_allclose(oc.metrics(state)[f"link.{number}"], value * 0.5**t, rtol=1e-6)


def floats(name):
    """The numbers among the arguments of a technique's example."""
    fixed = statics(RULES[name]) if name in RULES else {}
    return {key: x for key, x in REGISTERED[name].example.items() if isinstance(x, float) and key not in fixed}


@pytest.mark.parametrize("name", one_of_each([name for name in TECHNIQUES if floats(name)], kind))
def test_gradients_flow_to_the_numbers(name):
    def loss(numbers):
        return sum(jnp.sum(u * u) for u in jax.tree.leaves(last_updates(build(name, **numbers))))

    grads = jax.jit(jax.grad(loss))(floats(name))
    assert all(np.isfinite(g) for g in grads.values())


# Those of `add_noise` depend on the path.
@pytest.mark.parametrize("name", one_of_each(sorted(set(TECHNIQUES) - {"add_noise"}), kind))
def test_a_bare_array_is_a_tree(name):
    p, tx = jnp.array([1.0, 2.0]), build(name)
    nested = {"x": p}
    one, _ = updated(tx, p, tx.init(p), p)
    other, _ = updated(tx, nested, tx.init(nested), nested)
    np.testing.assert_array_equal(one, other["x"])


@each_kind_of_rule
def test_core_ndim_by_perturbation(name):
    """One perturbed entry leaves every other core block bit-identical; core None is the whole leaf."""
    link = build(name).link
    if isinstance(link, oc.core.joint.Joint):
        pytest.skip("sees the whole tree by definition")
    rule, params, grads = link.rule, tree(0), tree(1)
    tx = build(name)
    other = {**grads, "kernel": grads["kernel"].at[1, 2].multiply(-2)}
    a, b = (updated(tx, g, tx.init(params), params) for g in (grads, other))
    changed = jax.tree.map(lambda x, y: jnp.asarray(x != y), a, b)
    touched = {jax.tree_util.keystr(path) for path, x in jax.tree.leaves_with_path(changed) if x.any()}
    assert touched and all("kernel" in path for path in touched)
    allowed = {0: np.s_[1:2, 2:3], 1: np.s_[1:2], 2: np.s_[:], None: np.s_[:]}[core_of(rule, 2)]
    outside = np.ones((4, 3), bool)
    outside[allowed] = False
    assert not any((x & outside).any() for x in jax.tree.leaves(changed) if x.shape == (4, 3))


@each_kind_of_link
def test_parameters_are_asked_for_where_they_are_read(name):
    tx, params = build(name), tree(0)
    try:
        without, _ = updated(tx, tree(1), tx.init(params))
    except ValueError as error:
        assert "reads the parameters" in str(error)
    else:
        updates, _ = updated(tx, tree(1), tx.init(params), params)
        chex.assert_trees_all_equal(without, updates)


@each_kind_of_link
def test_map_params_and_shardings(name):
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("x"))
    params = jax.device_put({"w": jnp.ones((8, 2)), "b": jnp.ones(4)}, rows)
    # No multiple of the parameters, across which some techniques divide by what is left.
    grads = jax.device_put({"w": jnp.ones((8, 2)), "b": jnp.full(4, 2.0)}, rows)
    tx = build(name)
    layouts = oc.shardings(tx, params)
    state = jax.jit(tx.init, out_shardings=layouts)(params)
    for x, follows in zip(jax.tree.leaves(state, is_leaf=is_hole), followed(tx, state, params), strict=True):
        if isinstance(follows, Follows) and 0 in follows.axes:
            along = [None] * follows.axes.index(0) + ["x"]
            assert x.sharding.is_equivalent_to(jax.NamedSharding(mesh, jax.P(*along)), x.ndim)
        elif not is_hole(x):  # matrices that do not follow the rows are split too, where their sides can be
            is_split = isinstance(follows, Stacked) or (x.ndim >= 2 and any(n % 4 == 0 for n in x.shape))
            parts = 4 if is_split else 1
            assert math.prod(x.sharding.shard_shape(x.shape)) * parts == x.size
    updates, after = jax.jit(functools.partial(updated, tx), out_shardings=(rows, layouts))(grads, state, params)
    local, g = jax.tree.map(np.asarray, (params, grads))
    # Inverse roots multiply rounding.
    rtol = 1e-5 if getattr(getattr(tx.link, "rule", None), "core_ndim", 0) == 2 else 1e-6
    expected, alone = updated(tx, g, tx.init(local), local)
    chex.assert_trees_all_close(updates, expected, rtol=rtol, atol=1e-7)
    held = [oc.state_by_parameters(tx, *pair) for pair in ((after, params), (alone, local))]
    chex.assert_trees_all_close(*held, rtol=rtol, atol=1e-7)
    tagged = optax.tree.map_params(tx, lambda _: "slot", state, transform_non_params=lambda _: "other")
    assert set(jax.tree.leaves(tagged)) <= {"slot", "other"}


@every_technique
def test_definitions_survive_copies(name):
    tx = build(name)
    copies = [
        pickle.loads(pickle.dumps(tx)),
        cloudpickle.loads(cloudpickle.dumps(tx)),
        copy.deepcopy(tx),
        tx._replace(),
        type(tx)(*tx),
        jax.tree.map(lambda x: x, tx),
    ]
    for other in copies:
        assert other == tx and hash(other) == hash(tx) and str(other) == str(tx)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    init, update = tx
    assert (init, update) == (tx.init, tx.update)


@every_rule
def test_a_mask_leaves_leaves_alone_and_holds_no_slots_for_them(name):
    params, tx = tree(0), build(name, mask="kernel")
    state = tx.init(params)
    updates, after = updated(tx, tree(1), state, params)
    chex.assert_trees_all_equal({**updates, "kernel": 0}, {**tree(1), "kernel": 0})
    chex.assert_trees_all_equal(avals(after), avals(state))
    alone = tx.init({"kernel": params["kernel"]})
    assert [x.shape for x in jax.tree.leaves(state)] == [x.shape for x in jax.tree.leaves(alone)]


@every_rule
def test_docstrings_say_what_they_must(name):
    doc = inspect.getdoc(TECHNIQUES[name])
    first, *rest = doc.splitlines()
    assert first.endswith(".") and len(first) <= 120 and rest[0] == ""
    for part in (".. math::", "Fields:", "Shapes and dtypes:", "Differs from the paper:", "References:"):
        assert part in doc, f"{name} lacks {part!r}"
    for field in build(name).link.rule.__dataclass_fields__:
        assert f"{field}:" in doc, f"{name} does not document {field}"


@every_rule
def test_signature_is_that_of_the_rule(name):
    make = TECHNIQUES[name]
    *fields, mask = inspect.signature(make).parameters
    assert fields == list(RULES[name].__dataclass_fields__) and mask == "mask"
    assert make.__doc__ == RULES[name].__doc__ and make.__name__ == name


MODULES = ["optchain.presets.classic", "optchain.presets.memory", "optchain.presets.variance"]


@pytest.mark.parametrize("name", [name for name in PRESETS if TECHNIQUES[name].__module__ in MODULES])
def test_presets_descend_a_quadratic(name):
    params = {"x": jnp.array([1.0, -2.0, 3.0])}
    # The update of Adadelta is a step already, and a small one at first.
    tx = build(name, learning_rate=2.0 if name == "adadelta" else 0.05)

    def step(carry, _):
        params, state = carry
        return oc.apply(tx, params, state, params), None

    (after, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=300)
    assert optax.tree.norm(after) < 0.5 * optax.tree.norm(params)
