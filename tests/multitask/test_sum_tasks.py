import jax
import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, params, updates

import optchain as oc

COMBINERS = {
    "sum_tasks": oc.sum_tasks,
    "pcgrad": oc.pcgrad,
    "mgda": oc.mgda,
    "cagrad": oc.cagrad,
    "nash_mtl": oc.nash_mtl,
    "random_task_weights": oc.random_task_weights,
    "gradnorm": oc.gradnorm,
    "uncertainty_weights": oc.uncertainty_weights,
    "dynamic_task_weights": lambda tasks: oc.dynamic_task_weights(tasks, every=2),
}
each_combiner = pytest.mark.parametrize("name", COMBINERS)


def test_sum_and_mean():
    grads = [gradients(seed, 4) for seed in range(3)]
    expected = np.stack([as_vectors(g).sum(0) for g in grads])
    np.testing.assert_allclose(updates(oc.sum_tasks(), grads)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(updates(oc.sum_tasks(average=True), grads)[0], expected / 4, rtol=1e-12)


@each_combiner
def test_metrics_say_how_far_the_gradients_agree_and_what_they_are_multiplied_by(name):
    grads, names = gradients(2, 3), ("a", "b", "c")
    tx = oc.chain(combine=COMBINERS[name](tasks=names), lr=oc.scale(1.0))
    first = oc.metrics(tx.init(params()))
    (u,), state = updates(tx, [grads], [[1.0, 2.0, 3.0]])
    shown, gs = oc.metrics(state), as_vectors(grads)
    unit = gs / np.linalg.norm(gs, axis=1)[:, None]
    cosines = [unit[i] @ unit[j] for i in range(3) for j in range(i)]
    weights = [float(shown[f"combine.weight_{x}"]) for x in names]
    assert shown.keys() == first.keys()
    np.testing.assert_allclose(shown["combine.min_cosine"], min(cosines), rtol=1e-5)
    np.testing.assert_allclose(shown["combine.conflicts"], np.mean(np.array(cosines) < 0), rtol=1e-6)
    np.testing.assert_allclose(np.array(weights) @ gs, u, rtol=1e-5, atol=1e-5 * np.abs(u).max())
    assert float(shown["combine.min_weight"]) == min(weights) and float(shown["combine.max_weight"]) == max(weights)


@each_combiner
def test_gradients_that_do_not_fit_are_refused_by_name(name):
    make, ps = COMBINERS[name], {"b": jnp.zeros(3), "w": jnp.zeros((2, 3))}
    tx = oc.chain(combine=make(tasks=("one", "two")), lr=oc.scale(1.0))

    def refused(message, shapes, losses=(1.0, 2.0)):
        grads = {leaf: jnp.ones(shape) for leaf, shape in shapes.items()}
        with pytest.raises(ValueError, match=f"{name}: {message}") as caught:
            tx.update(grads, tx.init(ps), ps, losses=jnp.array(losses))
        assert "in link 'combine' of chain" in caught.value.__notes__

    refused(
        r"leaf 'b' has the gradients of 1 task, expected 2 \(one, two\): a leading axis of 2", {"b": 3, "w": (2, 3)}
    )
    refused(r"leaf 'b' has the gradients of 3 tasks, expected 2 \(one, two\)", {"b": (3, 3), "w": (3, 2, 3)})
    refused("the leaves have 2 and 3 tasks, expected as many in each", {"b": (2, 3), "w": (3, 2, 3)})
    refused(r"leaf 'b' has shape \(3,\), expected \(tasks, 3\)", {"b": 3, "w": (2, 2, 3)})
    with pytest.raises(ValueError, match=r"leaf 'w' has shape \(2, 2\) in the updates, \(2, 3\) in the parameters"):
        tx.update({"b": jnp.ones((2, 3)), "w": jnp.ones((2, 2))}, tx.init(ps), ps, losses=jnp.ones(2))
    for wrong in (0, -1, True, 2.0, (), ("a", "a"), ("a.b",), "ab"):
        with pytest.raises(ValueError, match=f"{name}: tasks must be"):
            make(tasks=wrong)


LOSSES = ["gradnorm", "uncertainty_weights", "dynamic_task_weights"]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_asked_for_and_are_as_many_as_the_tasks(name):
    tx, g = COMBINERS[name](tasks=2), gradients(0, 2)
    state = tx.init(params())
    with pytest.raises(ValueError, match=f"{name} needs the extra argument `losses`, the loss of each task"):
        tx.update(g, state, params())
    for losses in (jnp.ones(3), jnp.ones(()), jnp.ones((2, 1))):
        with pytest.raises(ValueError, match=f"{name}: `losses` has the shape .* one for each of the 2 tasks"):
            tx.update(g, state, params(), losses=losses)
    with pytest.raises(ValueError, match=f"{name}: tasks must say how many there are"):
        COMBINERS[name](tasks=None)


def test_a_link_that_combines_nothing_refuses_the_axis_and_says_what_takes_it():
    tx = oc.chain(oc.scale(1.0), oc.pcgrad())
    with pytest.raises(
        ValueError, match="gradients of single tasks are for a link that combines them, such as `pcgrad`"
    ):
        tx.update(gradients(0, 2), tx.init(params()), params())
    tx = oc.accumulate(oc.chain(oc.pcgrad(), oc.sgd(0.1)), 2)
    with pytest.raises(ValueError, match="the first one of a chain outside of this one"):
        tx.update(gradients(0, 2), tx.init(params()), params())


@each_combiner
def test_within_a_guard_and_in_bfloat16(name):
    tx = oc.guard(oc.chain(combine=COMBINERS[name](tasks=3), adam=oc.scale_by_adam()))
    ps, g = params("bfloat16"), gradients(0, 3, "bfloat16")
    u, state = jax.jit(tx.update)(g, tx.init(ps), ps, losses=jnp.ones(3))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), u) == jax.tree.map(lambda x: (x.shape, x.dtype), ps)
    spoiled = jax.tree.map(lambda x: x.at[1].set(jnp.nan), g)
    u, state = jax.jit(tx.update)(spoiled, state, ps, losses=jnp.ones(3))
    assert all(not np.asarray(x, np.float32).any() for x in jax.tree.leaves(u))


@each_combiner
def test_shards_inside_shard_map_make_what_whole_arrays_make(name):
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,))
    ps = {"w": jnp.ones((8, 3)), "b": jnp.ones(4)}
    draw = jax.random.split(jax.random.key(0), 2)
    g = {leaf: jax.random.normal(key, (3, *p.shape)) for key, (leaf, p) in zip(draw, ps.items(), strict=True)}
    tx = COMBINERS[name](tasks=3)
    losses = jnp.array([1.0, 2.0, 0.5])
    expected, _ = tx.update(g, tx.init(ps), ps, losses=losses)
    spread = oc.over_axes(tx, "x")

    def step(g, p):
        return spread.update(g, spread.init(p), p, losses=losses)[0]

    shards = jax.shard_map(step, mesh=mesh, in_specs=(jax.P(None, "x"), jax.P("x")), out_specs=jax.P("x"))
    found = jax.jit(shards)(g, ps)
    for leaf in ps:
        np.testing.assert_allclose(found[leaf], expected[leaf], rtol=2e-5, atol=1e-6)
