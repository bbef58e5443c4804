import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import of_axes, repeated
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"gamma": 1.0, "b1": 0.9}]


def paper(gs, gamma=0.025, b1=0.95):
    """The corrected gradients c of Algorithm 1 of Yuan et al., where x_1 is x_0."""
    updates = [g + gamma * (b1 / (1 - b1)) * (g - last) for g, last in zip(gs, [gs[0], *gs[:-1]], strict=True)]
    return {"updates": np.stack(updates), "last": gs[-1]}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.reduce_variance(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["last"], twin["last"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours = run_float64(oc.reduce_variance(), entries)
    assert_agree(ours.updates, by_leaf(paper, entries.grads)["updates"], 1e-12)


def test_leaves_a_constant_gradient_alone():
    given = repeated(0)
    assert_agree(run(oc.reduce_variance(gamma=1.0), given).updates, given.grads, 0)


def test_with_gamma_1_the_running_mean_follows_without_lag():
    """STORM: the mean of a gradient that grows steadily is the gradient itself, not what it was 1 / (1 - b1) ago."""
    tx = oc.chain(oc.reduce_variance(gamma=1.0, b1=0.9), oc.scale_by_adam(b1=0.9))
    params, state = jnp.zeros(()), tx.init(jnp.zeros(()))
    for t in range(1, 60):
        _, state = tx.update(jnp.float32(t), state, params)
    mean = own(state["links"]["scale_by_adam"])["mu"] / (1 - 0.9**59)
    np.testing.assert_allclose(mean, 59, rtol=0.01)


def mars(gs, p, b1=0.95, b2=0.99, eps=1e-8, gamma=0.025, weight_decay=0.0, as_library=False):
    """Algorithm 2 of Yuan et al., MARS-AdamW, with its clipping; or with the epsilons of pytorch_optimizer."""
    m, v = 0.0, 0.0
    for t, c in enumerate(paper(gs, gamma, b1)["updates"], 1):
        c = c / max(1.0, np.sqrt(np.sum(c**2)))
        m = b1 * m + (1 - b1) * c
        v = b2 * v + (1 - b2) * c**2
        root = (np.sqrt(v + 1e-15) + eps) / np.sqrt(1 - b2**t) if as_library else np.sqrt(v / (1 - b2**t)) + eps
        p = p + RATE * (m / (1 - b1**t) / root + weight_decay * p)
    return {"params": p}


@pytest.mark.parametrize("options", [{}, {"b1": 0.9, "gamma": 0.5, "weight_decay": 0.1}], ids=str)
def test_the_preset_is_the_papers_algorithm(recorded, options):
    grads = jax.tree.map(lambda g: 4 * g, recorded.grads)  # some of them are clipped
    ours = run(oc.mars(-RATE, **options), recorded._replace(grads=grads))
    assert_agree(ours.params, by_leaf(mars, grads, recorded.params, **options)["params"], PARAMS)


def adamw(gs, b1=0.9, b2=0.95, eps=1e-8):
    m, v, updates = 0.0, 0.0, []
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        updates.append(m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps))
    return np.stack(updates)


def test_the_authors_step_vectors_by_adamw(recorded):
    """By as much as the docstring says."""
    differences = []
    for gs in jax.tree.leaves(of_axes(recorded, 1).grads):
        gs = np.asarray(gs, np.float64)
        start = np.zeros(gs.shape[1:])
        positions = [start, *(mars(gs[:t], start)["params"] / RATE for t in range(1, len(gs) + 1))]
        ours, theirs = np.diff(positions, axis=0), adamw(gs)
        differences.append(np.mean(np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)))
    np.testing.assert_allclose([min(differences), max(differences)], [0.32, 0.43], atol=0.006)


@pytest.mark.oracles
def test_the_preset_agrees_with_pytorch_optimizer(recorded):
    """It begins with a last gradient of 0, as the authors' program does; here it is told the first one.

    It also adds 1e-15 to the mean square and eps before it debiases, which units that hardly ever work tell by 9e-3 of
    their kernel: the paper's law with these changes is its.
    """
    oracle, torch = pytest.importorskip("pytorch_optimizer"), pytest.importorskip("torch")
    firsts = [np.asarray(g[0], np.float64) for g in jax.tree.leaves(recorded.grads)]

    def make(told):
        def mars(params):
            tx = oracle.MARS(params, lr=-RATE, optimize_1d=True, weight_decay=0.1)
            for p, g in zip(params, firsts, strict=True):
                zero = torch.zeros_like(p)
                last = torch.tensor(g) if told else zero
                tx.state[p] = {"exp_avg": zero, "exp_avg_sq": zero.clone(), "last_grad": last}
            return tx

        return mars

    changed = by_leaf(mars, *recorded[::-1], weight_decay=0.1, as_library=True)["params"]
    assert_agree(run_torch(make(told=True), recorded)[0], changed, 1e-11)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run_torch(make(told=False), recorded)[0], changed, 1e-3)
    assert_agree(run(oc.mars(-RATE, weight_decay=0.1), recorded).params, changed, 2e-2)
