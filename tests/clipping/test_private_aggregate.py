import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from agreement import SLOTS, assert_agree, run, run_float64, run_twin
from recorded_gradients import STEPS, joined
from tiers import one_of_each
from whole_tree import tree_of, vector

import optchain as oc

COUNT = 4


def examples(recorded):
    """Recorded gradients of several steps, as if they were those of the examples of one batch."""
    return recorded._replace(
        grads=jax.tree.map(lambda g: jnp.stack([jnp.roll(g, i, 0) for i in range(COUNT)], 1), recorded.grads)
    )


def paper(grads, clip):
    """Lines 6 to 9 of Algorithm 1 of Abadi et al. without noise, example by example."""
    examples, updates = vector(grads, 2), []
    for batch in examples:
        clipped = [g / max(1.0, np.sqrt(np.sum(g**2)) / clip) for g in batch]
        updates.append(sum(clipped) / len(batch))
    return tree_of(np.stack(updates), jax.tree.map(lambda g: g[0, 0], grads))


@pytest.mark.parametrize("clip", one_of_each([1.0, 0.05, 1e6]))  # clips some examples, all, none
def test_without_noise_agrees_with_the_paper_and_optax(entries, clip):
    given = examples(entries)
    ours = run(oc.differentially_private_aggregate(clip, 0.0), given).updates
    theirs = run_twin(optax.contrib.differentially_private_aggregate(clip, 0.0, key=0), given).updates
    assert_agree(ours, paper(given.grads, clip), SLOTS)
    assert_agree(ours, theirs, SLOTS)


def test_is_exact_in_float64(entries):
    given = examples(entries)
    ours = run_float64(oc.differentially_private_aggregate(1.0, 0.0), given).updates
    assert_agree(ours, paper(given.grads, 1.0), 1e-12)


def test_one_example_moves_the_sum_by_no_more_than_the_bound(entries):
    """The sensitivity, on which all privacy rests: an example a million times larger than the others."""
    (params, grads), tx = joined(entries), oc.differentially_private_aggregate(0.1, 0.0)
    other = jax.tree.map(lambda g: g.at[7].multiply(-1e6), grads)
    a, b = (tx.update(x, tx.init(params), params)[0] for x in (grads, other))
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, a, b))) * STEPS <= 0.2 * (1 + 1e-4)


def noise(params, count=1, seed=0, sigma=2.0, examples=4, clip=3.0):
    """The noise at one step, as it enters the sum, over its nominal standard deviation."""
    tx = oc.differentially_private_aggregate(clip, sigma, seed)
    grads = jax.tree.map(lambda p: jnp.zeros((examples, *p.shape)), params)
    u, _ = tx.update(grads, {tx.link.name: {"count": jnp.asarray(count - 1, jnp.int32)}}, params)
    return jax.tree.map(lambda x: np.asarray(x) * examples / (sigma * clip), u)


def test_the_noise_is_normal_with_the_deviation_it_should_have():
    drawn = np.sort(noise({"w": jnp.zeros(40_000)})["w"])
    quantiles = [(0.5, 0.0), (0.8413447, 1.0), (0.9772499, 2.0), (0.0013499, -3.0)]
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.015  # four standard errors
    for q, z in quantiles:
        assert abs(np.quantile(drawn, q) - z) < 0.15
    assert abs(np.corrcoef(drawn[:-1:2], noise({"w": jnp.zeros(40_000)}, count=2)["w"][:-1:2])[0, 1]) < 0.03


def test_the_noise_is_a_function_of_seed_step_and_path_alone():
    params = {"a": jnp.zeros((4, 3)), "b": jnp.zeros((4, 3)), "layers": jnp.zeros((2, 4, 3))}
    first = noise(params)
    again, later, other = noise(params), noise(params, count=2), noise(params, seed=1)
    alone = noise({"b": jnp.zeros((4, 3))}, examples=9)
    for name, x in first.items():
        np.testing.assert_array_equal(x, again[name])
        assert np.all(x != later[name]) and np.all(x != other[name])
    np.testing.assert_allclose(alone["b"], first["b"], rtol=1e-6)
    assert np.all(first["a"] != first["b"]) and np.all(first["layers"][0] != first["layers"][1])


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_the_noise_is_the_same_however_it_is_sharded(kind):
    params, tx = {"w": jnp.zeros((8, 4))}, oc.differentially_private_aggregate(1.0, 1.0)
    local, _ = tx.update(params, tx.init(params), params)
    mesh = jax.make_mesh((4,), ("x",), (kind,))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, jax.NamedSharding(mesh, jax.P("x")))
        u, _ = jax.jit(tx.update)(placed, tx.init(params), placed)
    np.testing.assert_array_equal(u["w"], local["w"])


def test_trains_within_a_chain():
    """A regression from the gradients of single examples, in one compiled loop."""
    x = jax.random.normal(jax.random.key(0), (64, 3))
    y = x @ jnp.array([1.0, -2.0, 0.5])
    private = oc.differentially_private_aggregate(1.0, noise_multiplier=0.5, key=3)
    tx = oc.chain(private=private, lr=oc.scale_by_learning_rate(0.2))
    per_example = jax.vmap(jax.grad(lambda w, x, y: (x @ w["w"] - y) ** 2), (None, 0, 0))

    def step(carry, _):
        params, state = carry
        return oc.apply(tx, per_example(params, x, y), state, params), None

    start = {"w": jnp.zeros(3)}
    (params, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, None, 200))((start, tx.init(start)))
    np.testing.assert_allclose(params["w"], [1.0, -2.0, 0.5], atol=0.1)
    assert 0 <= float(oc.metrics(state)["private.clipped"]) < 1


def test_the_mask_is_that_of_the_parameters():
    """A vector is no matrix, though its gradients have two axes; what is left out is averaged."""
    p = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    g = {"w": jnp.full((4, 2, 2), 5.0), "b": jnp.arange(8.0).reshape(4, 2)}
    tx = oc.differentially_private_aggregate(1.0, 0.0, mask=oc.is_matrix)
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_allclose(u["w"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(u["b"], [3.0, 4.0])


def test_the_sum_is_divided_by_the_expected_size():
    """Also that of leaves that are left out, and of the noise."""
    p, g = {"w": jnp.zeros(2), "b": jnp.zeros(2)}, {"w": jnp.full((4, 2), 5.0), "b": jnp.arange(8.0).reshape(4, 2)}
    tx, twice = (oc.differentially_private_aggregate(1.0, 1.0, mask="w", batch_size=n) for n in (None, 8))
    at_hand, _ = tx.update(g, tx.init(p), p)
    expected, _ = twice.update(g, twice.init(p), p)
    chex.assert_trees_all_close(expected, jax.tree.map(lambda u: u / 2, at_hand), rtol=1e-6)


@pytest.mark.parametrize("size", [0, -1.0, float("nan"), float("inf"), True, "4", jnp.ones(())], ids=str)
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="differentially_private_aggregate: batch_size must be a number > 0 or None"):
        oc.differentially_private_aggregate(1.0, 1.0, batch_size=size)


def test_a_parameter_without_a_gradient_takes_no_part():
    p, tx = {"w": jnp.zeros(2), "b": jnp.ones(3)}, oc.differentially_private_aggregate(1.0, 0.0)
    updates, _ = tx.update({"w": jnp.array([[3.0, 4.0], [0.0, 0.0]]), "b": None}, tx.init(p), p)
    np.testing.assert_allclose(updates["w"], [0.3, 0.4], rtol=1e-6)
    assert updates["b"] is None


@pytest.mark.parametrize(
    "shapes, message",
    [
        ({"w": (4, 3), "b": (4, 2)}, r"leaf 'w' has shape \(4, 3\) in the updates, \(2, 3\) in the parameters"),
        ({"w": (4, 2, 3), "b": (3, 2)}, r"the leaves have 3 and 4 examples"),
        ({"w": (4, 2, 3)}, "the parameters have a leaf 'b' that the updates lack"),
    ],
)
def test_refuses_gradients_without_the_axis_of_the_examples(shapes, message):
    p, tx = {"w": jnp.zeros((2, 3)), "b": jnp.zeros(2)}, oc.differentially_private_aggregate(1.0, 1.0)
    with pytest.raises(ValueError, match=f"differentially_private_aggregate: {message}"):
        tx.update({name: jnp.zeros(shape) for name, shape in shapes.items()}, tx.init(p), p)
    with pytest.raises(ValueError, match="reads the parameters"):
        tx.update(p, tx.init(p))
