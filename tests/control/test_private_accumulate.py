"""Accumulation of clipped sums: the step, the bound and the noise of one large batch, however it is split."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import one_of_each

import optchain as oc

NAME = "differentially_private_accumulate"
CLIP = 0.7
SPLITS = [[1, 2, 3], [6], [3, 0, 3]]
PARAMS = {"w": jnp.full((3, 2), 0.5), "b": jnp.zeros(2), "scale": jnp.ones(())}


def drawn(count, seed=0, params=PARAMS):
    """Gradients of single examples, some of them within the bound."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(0.05, 1.0, count)
    return jax.tree.map(
        lambda p: jnp.asarray(np.einsum("i,i...->i...", sizes, rng.normal(size=(count, *p.shape))), jnp.float32), params
    )


def parts(grads, split):
    ends = np.cumsum([0, *split])
    return [jax.tree.map(lambda g: g[a:b], grads) for a, b in zip(ends[:-1], ends[1:], strict=True)]  # noqa: B023


def take(tx, batches, state=None, params=PARAMS, **extra):
    """The parameters and the state after a step on each batch."""
    state = tx.init(params) if state is None else state
    for i, g in enumerate(batches):
        params, state = oc.apply(tx, g, state, params, **{name: x[i] for name, x in extra.items()})
    return params, state


def accumulate(every, sigma=0.0, tx=None, **options):
    return oc.differentially_private_accumulate(tx or oc.scale(-1.0), every, CLIP, sigma, key=3, **options)


def aggregate(sigma=0.0, tx=None, **options):
    private = oc.differentially_private_aggregate(CLIP, sigma, key=3, **options)
    return oc.chain(private=private, inner=tx or oc.scale(-1.0))


@pytest.mark.parametrize("split", one_of_each(SPLITS), ids=str)
@pytest.mark.parametrize("batch_size", [None, 5])
def test_parts_of_a_batch_make_the_step_of_the_whole(split, batch_size):
    """With the noise of each step: two steps of momentum, on examples of which some are clipped."""
    inner, options = oc.momentum(0.1, 0.9), {"sigma": 1.5, "batch_size": batch_size}
    tx = accumulate(len(split), tx=inner, **options)
    found, state = take(tx, [part for seed in (0, 1) for part in parts(drawn(6, seed), split)])
    expected, large = take(aggregate(tx=inner, **options), [drawn(6, seed) for seed in (0, 1)])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    shown = oc.metrics(state)
    assert (shown[f"{NAME}.emitted"], shown[f"{NAME}.micro"], shown[f"{NAME}.examples"]) == (2, 0, 6)
    assert 0 < shown["private.clipped"] == oc.metrics(large)["private.clipped"] < 1


def test_a_step_by_hand():
    """Of (3, 4), whose norm is 5, there remains (0.6, 0.8); the others are within the bound of 1."""
    tx = oc.differentially_private_accumulate(oc.scale(-1.0), 2, 1.0, 0.0, batch_size=4)
    params = {"w": jnp.zeros(2)}
    grads = [{"w": jnp.array([[3.0, 4.0], [0.3, 0.0]])}, {"w": jnp.array([[0.0, 0.5]])}]
    moved, state = take(tx, grads[:1], params=params)
    chex.assert_trees_all_equal(moved, params)
    np.testing.assert_allclose(state[NAME]["sum"]["w"], [0.9, 0.8], rtol=1e-6)
    moved, state = take(tx, grads[1:], state, params)
    np.testing.assert_allclose(moved["w"], [-0.9 / 4, -1.3 / 4], rtol=1e-6)
    np.testing.assert_allclose(oc.metrics(state)["private.clipped"], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("every", [1, 4])
def test_noise_is_added_once_for_each_step(every):
    params, count = {"w": jnp.zeros(40_000)}, 2
    tx = oc.differentially_private_accumulate(oc.scale(1.0), every, 0.5, 3.0)
    zeros = {"w": jnp.zeros((count, 40_000))}
    moved, state = take(tx, [zeros] * every, params=params)
    nominal = 3.0 * 0.5 / (count * every)
    assert abs(float(moved["w"].std()) / nominal - 1) < 0.015  # four standard errors
    again, _ = take(tx, [zeros] * every, state, params)
    assert abs(np.corrcoef(moved["w"], again["w"])[0, 1]) < 0.02


@pytest.mark.parametrize("split", one_of_each(SPLITS), ids=str)
def test_one_example_moves_the_mean_by_no_more_than_the_bound(split):
    """The sensitivity: without it by C / B, with another one in its place by 2 C / B."""
    grads, tx = drawn(6), accumulate(len(split), batch_size=6)

    @jax.jit
    @jax.vmap
    def mean(i, factor):
        other = jax.tree.map(lambda g: g.at[i].multiply(factor), grads)
        return take(tx, parts(other, split))[0]

    unchanged = mean(jnp.arange(6), jnp.ones(6))
    for factor, bound in ((0.0, CLIP / 6), (-1e6, 2 * CLIP / 6)):
        moved = jax.tree.map(jnp.subtract, mean(jnp.arange(6), jnp.full(6, factor)), unchanged)
        distances = jax.vmap(optax.tree.norm)(moved)
        assert (distances <= bound * (1 + 1e-5)).all() and distances.max() > 0.9 * bound


def test_an_empty_batch_makes_a_step_of_noise_alone():
    """As Poisson sampling may draw it: to make none would tell of it."""
    empty = jax.tree.map(lambda p: jnp.zeros((0, *p.shape)), PARAMS)
    zeros = jax.tree.map(lambda p: jnp.zeros((4, *p.shape)), PARAMS)
    for options in ({"batch_size": 4}, {}):
        found, state = take(accumulate(2, 1.0, **options), [empty, empty])
        expected, _ = take(accumulate(2, 1.0, batch_size=options.get("batch_size", 1)), [zeros, zeros])
        chex.assert_trees_all_close(found, expected, rtol=1e-6)
        assert state[NAME]["emitted"] == 1 and oc.metrics(state)["private.clipped"] == 0
        alone, state = take(aggregate(1.0, **options), [empty])
        chex.assert_trees_all_close(alone, expected, rtol=1e-6)
        assert oc.metrics(state)["private.clipped"] == 0


def test_examples_of_gradient_zero_change_nothing_where_the_size_is_given():
    grads = drawn(5)
    filled = jax.tree.map(lambda g: jnp.concatenate([g, jnp.zeros((3, *g.shape[1:]))]), grads)
    found, _ = take(accumulate(2, 1.0, batch_size=6), parts(filled, (4, 4)))
    expected, _ = take(accumulate(1, 1.0, batch_size=6), [grads])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)


def test_nothing_moves_between_steps():
    tx = accumulate(3, 1.0, oc.adamw(0.1))
    state = tx.init(PARAMS)
    updates, after = tx.update(drawn(2), state, PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    for name in ("inner", "others"):
        chex.assert_trees_all_equal(after[name], state[name])


def test_a_nan_spoils_its_step_and_no_other():
    """To leave it out would tell of it."""
    tx, bad = accumulate(2), jax.tree.map(lambda g: g.at[0].set(jnp.nan), drawn(2))
    moved, state = take(tx, [bad, drawn(2)])
    assert np.isnan(moved["w"]).all() and state[NAME]["emitted"] == 1
    found, _ = take(tx, parts(drawn(6), (3, 3)), state)
    expected, _ = take(tx, parts(drawn(6), (3, 3)))
    chex.assert_trees_all_equal(found, expected)


def test_a_compiled_loop_emits_what_is_pending_on_request():
    """Six micro-batches by fours: two steps, of four and of two."""
    tx, grads = accumulate(4, 1.0, oc.adamw(0.01)), drawn(12)
    stacked = jax.tree.map(lambda g: g.reshape(6, 2, *g.shape[1:]), grads)

    def step(carry, given):
        g, emit = given
        return oc.apply(tx, g, carry[1], carry[0], emit=emit), None

    given = stacked, jnp.arange(6) == 5
    (found, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, given))((PARAMS, tx.init(PARAMS)))
    expected, _ = take(aggregate(1.0, oc.adamw(0.01)), parts(grads, (8, 4)))
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    assert state[NAME]["emitted"] == 2 and state[NAME]["micro"] == 0 and state[NAME]["examples"] == 4


def test_numbers_have_an_address_and_may_be_schedules_of_the_steps():
    clip = lambda step: 0.25 * 2.0**step  # noqa: E731
    tx = oc.differentially_private_accumulate(oc.sgd(1.0), lambda step: 1 + step, clip, 0.0)
    large = oc.chain(oc.differentially_private_aggregate(clip, 0.0), oc.sgd(1.0))
    found, state = take(tx, parts(drawn(6), (2, 1, 3)))
    expected, _ = take(large, parts(drawn(6), (2, 4)))
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    assert oc.metrics(state)["private.l2_norm_clip"] == 0.5 and oc.metrics(state)[f"{NAME}.every"] == 3
    hyper = {"private.l2_norm_clip": 0.1, "private.noise_multiplier": 2.0, "lr.learning_rate": 0.5}
    found, state = take(accumulate(2, tx=oc.sgd(1.0)), parts(drawn(6), (3, 3)), hyper=[hyper] * 2)
    tx = oc.differentially_private_accumulate(oc.sgd(0.5), 2, 0.1, 2.0, key=3)
    chex.assert_trees_all_close(found, take(tx, parts(drawn(6), (3, 3)))[0], rtol=1e-5, atol=1e-6)
    assert oc.metrics(state)["private.noise_multiplier"] == 2
    with pytest.raises(ValueError, match="has no number 'private.clipped'"):
        take(tx, [drawn(2)], hyper=[{"private.clipped": 1.0}])


def test_the_sum_is_in_float32_for_parameters_and_gradients_in_low_precision():
    params = {"w": jnp.zeros(2, jnp.bfloat16)}
    tx = oc.differentially_private_accumulate(oc.scale(-1.0), 64, 10.0, 0.0)
    state = tx.init(params)
    assert state[NAME]["sum"]["w"].dtype == jnp.float32
    grads = [{"w": jnp.full((4, 2), 1 + (i % 2) / 128, jnp.bfloat16)} for i in range(64)]
    step = jax.jit(lambda g, state: tx.update(g, state, params))
    for g in grads:
        updates, state = step(g, state)
    assert updates["w"].dtype == jnp.bfloat16
    np.testing.assert_allclose(state[NAME]["sum"]["w"] / 256, 1 + 0.5 / 128, rtol=1e-6)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda make: oc.guard(make(oc.sgd(0.1))),
        lambda make: make(oc.guard(oc.sgd(0.1))),
        lambda make: optax.chain(make(optax.identity()), optax.sgd(0.1)),
        lambda make: oc.chain(private=make(oc.scale(1.0)), lr=oc.scale_by_learning_rate(0.1)),
        lambda make: oc.lookahead(make(oc.sgd(0.1)), 9, 0.5),
        lambda make: oc.precision(make(oc.sgd(0.1))),
    ],
    ids=["guard", "guard within", "optax.chain", "chain", "lookahead", "precision"],
)
def test_it_stands_within_others_and_around_them(wrap):
    tx = wrap(lambda inner: accumulate(2, 1.0, inner))
    found, state = take(tx, parts(drawn(6), (2, 4)))
    expected, _ = take(aggregate(1.0, oc.sgd(0.1)), [drawn(6)])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    assert oc.metrics(state)


def test_a_parameter_without_a_gradient_stays_and_the_others_step():
    grads = {**drawn(4), "b": None}
    rest = {name: p for name, p in PARAMS.items() if name != "b"}
    tx = accumulate(2, 1.0)
    found, _ = take(tx, parts(grads, (2, 2)))
    expected, _ = take(tx, parts({name: grads[name] for name in rest}, (2, 2)), params=rest)
    chex.assert_trees_all_close(found, {**expected, "b": PARAMS["b"]}, rtol=1e-6)


def test_the_loss_is_averaged_over_the_examples():
    tx = accumulate(2, tx=oc.chain(plateau=oc.scale_on_plateau(0.5, patience=0)))
    _, state = take(tx, parts(drawn(4), (1, 3)), value=[4.0, 2.0])
    assert oc.metrics(state)["plateau.best"] == 2.5


def test_sharded_equals_local():
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,))
    params = {"w": jnp.arange(16.0).reshape(8, 2)}
    grads, tx = drawn(8, params=params), accumulate(2, 1.0, oc.adamw(0.1))
    rows, examples = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("x",), ("x", None)))
    placed = jax.device_put(params, rows)

    @jax.jit
    def trained(params, grads):
        state = tx.init(params)
        for g in parts(grads, (4, 4)):
            params, state = oc.apply(tx, g, state, params)
        return params

    chex.assert_trees_all_close(
        trained(placed, jax.device_put(grads, examples)), take(tx, parts(grads, (4, 4)), params=params)[0], rtol=1e-6
    )
    layouts = oc.shardings(tx, placed)
    assert layouts[NAME]["sum"]["w"].is_equivalent_to(rows, 2)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: accumulate(0), f"{NAME}: every must lie in"),
        (lambda: accumulate(2, -1.0), "noise_multiplier must lie in"),
        (lambda: accumulate(2, batch_size=0), "batch_size must be a number > 0 or None, got 0"),
        (lambda: accumulate(2, batch_size=lambda step: 4), "batch_size must be a number > 0 or None"),
        (lambda: accumulate(2, tx=oc.dpsgd(0.1, 1.0, 1.0, 0)), f"{NAME}: tx has a .* give what comes after it"),
        (lambda: accumulate(2, tx=oc.sam(oc.sgd(0.1))), f"{NAME}: sam within it reads `grad_fn`.* leave sam out"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_does_not_fit_is_refused():
    tx = accumulate(2)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=f"{NAME} reads the parameters"):
        tx.update(drawn(2), state)
    with pytest.raises(ValueError, match=f"{NAME}: the leaves have 2 and 3 examples"):
        tx.update({**drawn(2), "b": jnp.zeros((3, 2))}, state, PARAMS)
    foreign = accumulate(2, tx=optax.sgd(0.1))
    with pytest.raises(ValueError, match=f"{NAME}: `value_fn` is a function of the last micro-batch alone"):
        foreign.update(drawn(2), foreign.init(PARAMS), PARAMS, value_fn=lambda p: 0.0)
