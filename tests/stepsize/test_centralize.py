import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64, run_twin

import optchain as oc


def paper(gs):
    """Equation 1 of Yong et al., output by output."""
    if gs.ndim == 2:  # a vector at each step
        return {"updates": gs}
    updates = gs.copy()
    for t in range(len(gs)):
        for j in range(gs.shape[-1]):
            updates[t, ..., j] -= sum(gs[t, ..., j].ravel()) / gs[t, ..., j].size
    return {"updates": updates}


def test_agrees_with_the_paper(recorded):
    first = recorded._replace(grads=jax.tree.map(lambda g: g[:20], recorded.grads))
    twin = by_leaf(paper, first.grads)["updates"]
    assert_agree(run(oc.centralize(), first).updates, twin, SLOTS)
    assert_agree(run_float64(oc.centralize(), first).updates, twin, 1e-12)


def turned(given):
    return jax.tree.map(lambda x: jnp.moveaxis(x, -1, x.ndim - 2) if x.ndim == 3 else x, given)


def test_agrees_with_optax_on_kernels_with_the_outputs_first(recorded):
    """optax takes the first axis for the outputs, as torch has it: with Flax's kernels it means over the outputs."""
    theirs = run_twin(optax.centralize(), recorded._replace(grads=turned(recorded.grads), params=flat(recorded.params)))
    assert_agree(run(oc.centralize(), recorded).updates, turned(theirs.updates), SLOTS)
    unturned = run_twin(optax.centralize(), recorded).updates
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run(oc.centralize(), recorded).updates, unturned, 0.1)


def flat(params):
    return jax.tree.map(lambda p: p.T if p.ndim == 2 else p, params)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer_on_a_convolution():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    g = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)  # h, w, i, o
    theirs = torch.tensor(g.transpose(3, 2, 0, 1).copy())  # o, i, h, w
    module.centralize_gradient(theirs)
    tx = oc.centralize()
    ours, _ = tx.update({"k": jnp.asarray(g)}, tx.init({"k": jnp.asarray(g)}))
    assert_agree(ours, {"k": theirs.numpy().transpose(2, 3, 1, 0)}, SLOTS)


def test_a_view_says_which_axes_are_outputs():
    g = {"q": jax.random.normal(jax.random.key(0), (6, 2, 3))}
    tx = oc.as_matrices(oc.centralize(), {"q": "d h k -> d (h k)"})
    u, _ = tx.update(g, tx.init(g), g)
    np.testing.assert_allclose(u["q"], g["q"] - g["q"].mean(0, keepdims=True), atol=1e-6)


def test_vectors_and_scalars_pass():
    tx, g = oc.centralize(), {"b": jnp.array([1.0, 2.0]), "s": jnp.array(3.0)}
    u, _ = tx.update(g, tx.init(g))
    assert all(np.array_equal(u[name], g[name]) for name in g)
