import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.matrices.blocks import cut, joined
from optchain.matrices.inverse_root import inverse_root

RATE = -0.01
OPTIONS = [{}, {"b": 0.9, "exponent": 0.5, "eps": 1e-4, "every": 3}]


def root(a, exponent, eps):
    values, vectors = np.linalg.eigh(a)
    values = np.maximum(values, 0)
    return vectors @ np.diag((values + eps * values.max()) ** -exponent) @ vectors.T


def paper(gs, b=1.0, exponent=0.25, eps=1e-6, every=1):
    """Algorithm 1 of Gupta et al., with the decay, the relative ridge and the rare roots of Anil et al."""
    rows, columns = gs.shape[1:]
    left, right, updates = np.zeros((rows, rows)), np.zeros((columns, columns)), []
    for t, g in enumerate(gs):
        left = b * left + (1 if b == 1 else 1 - b) * g @ g.T
        right = b * right + (1 if b == 1 else 1 - b) * g.T @ g
        if t % every == 0:
            left_root, right_root = root(left, exponent, eps), root(right, exponent, eps)
        updates.append(left_root @ g @ right_root)
    return {"updates": np.stack(updates), "left": left[None], "right": right[None]}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """Where a gradient's rows are 0 the matrices are singular: the ridge decides, and eigenvalues are exact to 1e-7."""
    twin, tx = by_leaf(paper, recorded_matrices.grads, **options), oc.scale_by_shampoo(**options)
    exact, ours = run_float64(tx, recorded_matrices), run(tx, recorded_matrices)
    assert_agree(exact.updates, twin["updates"], 1e-7)
    assert_agree(exact.state["left"], twin["left"], 1e-12)
    assert_agree(ours.state["right"], twin["right"], 1e-5)
    assert_agree(ours.updates, twin["updates"], 0.05)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer():
    """It adds its ridge to the sum at the start, in absolute terms; here it is too small to matter."""
    library = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    given = full(6, 5, 100)

    def make(params):
        return library.Shampoo(params, lr=-RATE, momentum=0.0, matrix_eps=1e-12, preconditioning_compute_steps=1)

    params, _ = run_torch(make, given)
    assert_agree(run_float64(oc.scale_by_shampoo(eps=1e-14, every=1), given, RATE).params, params, 1e-6)


def full(rows, columns, steps=20):
    """Gradients that are the sum of a full-rank matrix and noise: well conditioned."""
    rng = np.random.default_rng(0)
    grads = np.eye(rows, columns) + 0.3 * rng.normal(size=(steps, rows, columns))
    return Recorded({"w": jnp.zeros((rows, columns))}, {"w": jnp.asarray(grads, jnp.float32)})


def test_a_single_gradient_becomes_orthogonal():
    """With exponent 1/4 on both sides and no ridge L^-1/4 g R^-1/4 is the polar factor: Muon without iteration."""
    g = np.random.default_rng(1).normal(size=(5, 5)) + 3 * np.eye(5)
    tx, u = oc.scale_by_shampoo(eps=0.0), np.linalg.svd(g)
    found, _ = tx.update(jnp.asarray(g, jnp.float32), tx.init(jnp.ones((5, 5))))
    np.testing.assert_allclose(found, u[0] @ u[2], atol=1e-4)


@pytest.mark.parametrize("max_dim, long", [(4, 1), (3, 2)])
def test_long_sides_have_no_moments_and_the_other_side_the_whole_root(max_dim, long):
    """A single gradient becomes orthogonal by one side alone; blocks are cut along short sides only."""
    g = full(6, 4, 1).grads["w"][0]
    tx, u = oc.scale_by_shampoo(eps=0.0, max_dim=max_dim), np.linalg.svd(g, full_matrices=False)
    found, state = tx.update(g, tx.init(g))
    slots = state["scale_by_shampoo"]
    assert len(jax.tree.leaves((slots["left"], slots["left_root"]))) == 0
    if long == 2:
        assert found is g and len(jax.tree.leaves(state)) == 1
    else:
        np.testing.assert_allclose(found, u[0] @ u[2], atol=1e-4)
        blocked = oc.scale_by_shampoo(max_dim=4, block_size=2)
        assert blocked.init(g)["scale_by_shampoo"]["right"].shape == (2, 2, 2)
        updates, _ = blocked.update(g, blocked.init(g))
        for columns in (slice(0, 2), slice(2, 4)):
            alone, _ = tx.update(g[:, columns], tx.init(g[:, columns]))
            np.testing.assert_allclose(updates[:, columns], alone, atol=1e-3)


def test_blocks_are_matrices_of_their_own():
    given = full(6, 4)
    blocked = run(oc.scale_by_shampoo(every=1, block_size=3), given).updates["w"]
    for rows in (slice(0, 3), slice(3, 6)):
        for columns in (slice(0, 2), slice(2, 4)):
            part = given._replace(
                params={"w": given.params["w"][rows, columns]}, grads={"w": given.grads["w"][:, rows, columns]}
            )
            own = run(oc.scale_by_shampoo(every=1), part).updates["w"]
            np.testing.assert_allclose(blocked[:, rows, columns], own, atol=2e-4)


@pytest.mark.parametrize("shape, size", [((6, 4), 3), ((7, 5), 3), ((2, 9), 4), ((5, 5), 8)], ids=str)
def test_what_is_cut_joins_again(shape, size):
    x = jnp.arange(float(np.prod(shape))).reshape(shape)
    for sizes in ((size, size), (size, 9), (9, size)):
        blocks = cut(x, *sizes)
        assert all(n <= most for n, most in zip(blocks.shape[1:], sizes, strict=True))
        np.testing.assert_array_equal(joined(blocks, shape, *sizes), x)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0])
def test_inverse_roots(exponent):
    a = np.cov(np.random.default_rng(0).normal(size=(6, 40)))
    found, wanted = inverse_root(jnp.asarray(a, jnp.float32), exponent, 1e-6), root(a, exponent, 1e-6)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)
    assert not inverse_root(jnp.zeros((3, 3)), exponent, 1e-6).any()


def test_roots_rest_between_the_steps_that_compute_them():
    given = full(4, 3, 8)
    tx, roots = oc.scale_by_shampoo(every=3), []
    state = tx.init(given.params)
    for t in range(8):
        _, state = tx.update({"w": given.grads["w"][t]}, state)
        roots.append(np.asarray(next(iter(state.values()))["left_root"]["w"]))
    changed = [t for t in range(1, 8) if (roots[t] != roots[t - 1]).any()]
    assert changed == [3, 6]


def test_wrong_arguments_are_told():
    for name in ("every", "block_size", "max_dim"):
        with pytest.raises(ValueError, match=f"scale_by_shampoo: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_shampoo(**{name: 0}).init(jnp.ones((2, 2)))
