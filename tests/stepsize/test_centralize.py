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
            updates[t, ..., j] -= np.sum(gs[t, ..., j]) / gs[t, ..., j].size
    return {"updates": updates}


def test_agrees_with_the_paper(recorded):
    twin = by_leaf(paper, recorded.grads)["updates"]
    assert_agree(run(oc.centralize(), recorded).updates, twin, SLOTS)
    assert_agree(run_float64(oc.centralize(), recorded).updates, twin, 1e-12)


def turned(recorded):
    """The last axis of each kernel comes first."""
    params = jax.tree.map(lambda p: jnp.moveaxis(p, -1, 0), recorded.params)
    return recorded._replace(params=params, grads=jax.tree.map(lambda g: jnp.moveaxis(g, -1, 1), recorded.grads))


@pytest.mark.full
def test_agrees_with_optax_on_kernels_with_the_outputs_first(recorded):
    """optax takes the first axis for the outputs, as torch has it: with Flax's kernels it means over the outputs."""
    theirs = run_twin(optax.centralize(), turned(recorded)).updates
    assert_agree(run(oc.centralize(), recorded).updates, jax.tree.map(lambda u: jnp.moveaxis(u, 1, -1), theirs), SLOTS)
    unturned = run_twin(optax.centralize(), recorded).updates
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run(oc.centralize(), recorded).updates, unturned, 0.1)


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
