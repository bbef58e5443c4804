import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import drawn, of_axes
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
ROUNDED = 3 * SLOTS  # 0.999 is 1.3e-8 larger in float32, which makes up to 1.6e-6 after 120 steps
OPTIONS = [{}, {"block": "row", "b1": 0.95, "b2": 0.95}, {"block": "column", "eps": 1e-3}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, block="leaf"):
    """Algorithm 1 of Zhang et al.: Adam with a scalar second moment on each block, in a loop over the blocks."""
    shape = gs.shape[1:]
    m, u = np.zeros(shape), np.zeros(gs.shape)
    if len(shape) < 2 or block == "leaf":
        blocks = [np.s_[...]]
    else:
        blocks = [np.s_[i] for i in range(shape[0])] if block == "row" else [np.s_[..., i] for i in range(shape[-1])]
    v = np.zeros(len(blocks))
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        for i, where in enumerate(blocks):
            v[i] = b2 * v[i] + (1 - b2) * np.mean(g[where] ** 2)
            u[t - 1][where] = m[where] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
    return {"updates": u, "mu": m, "nu": v if blocks != [np.s_[...]] else v[0]}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours, twin = run(oc.scale_by_adam_mini(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], ROUNDED)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded, options):
    ours, twin = run_float64(oc.scale_by_adam_mini(**options), recorded), by_leaf(paper, recorded.grads, **options)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    """Parameters of other names are one block there; `parameter_per_head` makes rows of this size."""
    torch, oracle = pytest.importorskip("torch"), pytest.importorskip("pytorch_optimizer")

    def make(names):
        class Named(torch.nn.Module):
            def named_parameters(self):
                return zip(names, self.leaves, strict=True)

        def adam_mini(params):
            model = Named()
            model.leaves = params
            return oracle.AdamMini(model, lr=-RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)

        return adam_mini

    names = [f"leaf.{i}" for i in range(len(jax.tree.leaves(recorded.params)))]
    params, _ = run_torch(make(names), recorded)
    assert_agree(run(oc.scale_by_adam_mini(), recorded, RATE).params, params, PARAMS)


def test_the_authors_step_biases_entry_by_entry(recorded):
    """By as much as the docstring says: Adam's updates on a row of numbers, each a block of its own."""
    differences = []
    for gs in jax.tree.leaves(of_axes(recorded, 1).grads):
        gs = np.asarray(gs, np.float64)
        ours, theirs = paper(gs)["updates"], paper(gs[:, :, None], block="row")["updates"][..., 0]
        differences.append(np.mean(np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)))
    np.testing.assert_allclose([min(differences), max(differences)], [0.11, 0.35], atol=0.006)


def test_blocks_are_heads_in_a_view():
    """Each head of a query kernel has one second moment: that of the head as a leaf of its own."""
    heads, given = 2, drawn(0)
    split = given._replace(
        params={f"head_{i}": jnp.ones((5, 3)) for i in range(heads)},
        grads={f"head_{i}": given.grads["w"] * (1 + i) ** 2 for i in range(heads)},
    )
    fused = given._replace(
        params=jnp.concatenate(list(split.params.values()), -1), grads=jnp.concatenate(list(split.grads.values()), -1)
    )
    viewed = oc.as_matrices(oc.chain(oc.scale_by_adam_mini()), {"*": f"d ({heads} k) -> {heads} d k"})
    ours, alone = run(viewed, fused).updates, run(oc.scale_by_adam_mini(), split).updates
    assert_agree(ours, jnp.concatenate(list(alone.values()), -1), 1e-6)


def test_the_words_for_blocks_and_their_memory():
    with pytest.raises(ValueError, match="scale_by_adam_mini: block is 'rows'; did you mean 'row'"):
        oc.scale_by_adam_mini(block="rows")
    p = {"w": jnp.zeros((6, 4)), "b": jnp.zeros(4)}
    shapes = {
        block: jax.tree.map(jnp.shape, oc.scale_by_adam_mini(block=block).init(p)["scale_by_adam_mini"]["nu"])
        for block in ("leaf", "row", "column")
    }
    assert shapes == {"leaf": {"w": (), "b": ()}, "row": {"w": (6,), "b": ()}, "column": {"w": (4,), "b": ()}}
    state = oc.scale_by_adam_mini().init(p)
    u, _ = oc.scale_by_adam_mini(eps=0.0).update(jax.tree.map(jnp.zeros_like, p), state)
    assert not np.any(u["w"])
