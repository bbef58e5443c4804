import itertools

import jax
import jax.numpy as jnp
import numpy as np
from several_tasks import as_vectors, gradients, params, updates
from whole_tree import vector

import optchain as oc


def paper(gs, orders):
    """Algorithm 1 of Yu et al., with the order in which each task meets the others."""
    projected = []
    for i, order in enumerate(orders):
        g = gs[i].copy()
        for j in order:
            if g @ gs[j] < 0:
                g = g - (g @ gs[j]) / (gs[j] @ gs[j]) * gs[j]
        projected.append(g)
    return sum(projected)


def orders(tasks):
    """All orders of all tasks."""
    others = [[j for j in range(tasks) if j != i] for i in range(tasks)]
    return list(itertools.product(*(list(itertools.permutations(each)) for each in others)))


def conflicting(seed, tasks):
    """Gradients that conflict more often than not."""
    g = gradients(seed, tasks)
    return jax.tree.map(lambda x: x - 1.2 * x.mean(0, keepdims=True), g)


def test_two_tasks_agree_with_the_paper():
    grads = [gradients(seed, 2) for seed in range(12)]
    found, _ = updates(oc.pcgrad(), grads)
    gs = [as_vectors(g) for g in grads]
    assert {bool(g[0] @ g[1] < 0) for g in gs} == {True, False}
    np.testing.assert_allclose(found, [paper(g, [(1,), (0,)]) for g in gs], rtol=1e-12, atol=1e-12)


def test_each_step_of_three_tasks_is_that_of_the_paper_for_some_order_and_orders_vary():
    grads = [conflicting(5, 3)] * 40
    found, _ = updates(oc.pcgrad(seed=3), grads)
    possible = np.stack([paper(as_vectors(grads[0]), order) for order in orders(3)])
    nearest = np.abs(found[:, None] - possible).max(-1)
    assert np.all(nearest.min(1) < 1e-11)
    assert len(set(nearest.argmin(1))) >= 4  # of eight, some of which make the same update
    again, _ = updates(oc.pcgrad(seed=3), grads)
    other, _ = updates(oc.pcgrad(seed=4), grads)
    np.testing.assert_array_equal(found, again)
    assert np.any(np.abs(found - other).max(1) > 1e-9)


def test_tasks_that_agree_are_summed_and_huge_or_tiny_ones_stay_finite():
    g = jax.tree.map(jnp.abs, gradients(0, 3))
    for scale in (1.0, 1e-30, 1e30):
        scaled = jax.tree.map(lambda x, scale=scale: x * scale, g)
        u, _ = oc.pcgrad().update(scaled, oc.pcgrad().init(params()), params())
        np.testing.assert_allclose(vector(u), as_vectors(scaled).sum(0), rtol=1e-5)
    opposed = jax.tree.map(lambda x: jnp.stack([x[0] * 1e20, -x[0] * 1e-10]), g)
    u, _ = oc.pcgrad().update(opposed, oc.pcgrad().init(params()), params())
    assert np.all(np.isfinite(vector(u))) and np.abs(vector(u)).max() < 1e15  # rounding of 1e20 is what is left


def test_one_task_passes():
    tx, g = oc.pcgrad(), gradients(1, 1)
    for given in (g, jax.tree.map(lambda x: x[0], g)):
        u, state = tx.update(given, tx.init(params()), params())
        np.testing.assert_array_equal(vector(u), as_vectors(g)[0])


def test_a_mask_projects_the_shared_parameters_alone():
    grads = conflicting(7, 2)
    (found,), _ = updates(oc.pcgrad(mask=["kernel", "deep/*"]), [grads])
    shared = {name: grads[name] for name in ("kernel", "deep")}
    expected = paper(as_vectors(shared), [(1,), (0,)])
    tree = jax.tree.unflatten(jax.tree.structure(params()), np.split(found, [3, 13, 14]))
    np.testing.assert_allclose(vector({name: tree[name] for name in shared}), expected, rtol=1e-12)
    np.testing.assert_allclose(tree["bias"], np.asarray(grads["bias"], np.float64).sum(0), rtol=1e-12)
