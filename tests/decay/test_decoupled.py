import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64, run_twin
from recorded_gradients import STEPS, blank
from techniques import own
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE = 0.01
KERNELS = {"dense": {"kernel": True, "bias": False}, "out": {"kernel": True, "bias": False}}


def adam(gs, p, decay, coupled, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 2 of Loshchilov and Hutter, with L2 (`coupled`) or decoupled decay; the rate scales both terms."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        g = g + decay * p if coupled else g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - RATE * (step if coupled else step + decay * p)
    return {"params": p, "mu": m, "nu": v}


def chained(decay, coupled, moments):
    links = [oc.add_decayed_weights(decay), moments]
    return oc.chain(*(links if coupled else reversed(links)), oc.scale_by_learning_rate(RATE))


@pytest.mark.parametrize("coupled", [True, False])
def test_agrees_with_the_paper(entries, coupled):
    ours = run(chained(0.1, coupled, oc.scale_by_adam()), entries)
    twin = by_leaf(adam, entries.grads, entries.params, decay=0.1, coupled=coupled)
    # In L2 the slots see the parameters, which carry a rounding of each step.
    slots, tol = own(ours.state["links"]["scale_by_adam"]), PARAMS if coupled else SLOTS
    assert_agree(slots["mu"], twin["mu"], tol)
    assert_agree(slots["nu"], twin["nu"], tol)
    assert_agree(ours.params, twin["params"], PARAMS)


@pytest.mark.parametrize("coupled", [True, False])
def test_is_exact_in_float64(entries, coupled):
    ours = run_float64(chained(0.1, coupled, oc.scale_by_adam()), entries)
    twin = by_leaf(adam, entries.grads, entries.params, decay=0.1, coupled=coupled)
    assert_agree(ours.params, twin["params"], 1e-12)


def test_agrees_with_optax(recorded):
    ours = run(oc.add_decayed_weights(0.1, mask=oc.is_matrix), recorded, -RATE)
    matrices = jax.tree.map(lambda p: p.ndim > 1, recorded.params)
    twin = run_twin(optax.add_decayed_weights(0.1, mask=matrices), recorded, -RATE)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
@pytest.mark.parametrize("coupled", [True, False])
def test_agrees_with_torch(entries, coupled):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    make = torch.optim.Adam if coupled else torch.optim.AdamW
    params, _ = run_torch(lambda p: make(p, lr=RATE, weight_decay=0.1), entries)
    assert_agree(run(chained(0.1, coupled, oc.scale_by_adam()), entries).params, params, PARAMS)


def test_coupled_and_decoupled_are_the_same_for_sgd(entries):
    """SGD on the penalized loss is SGD with decay, p - rate (g + decay p) = (1 - rate decay) p - rate g."""

    def shrink_and_step(gs, p):
        for g in gs:
            p = (1 - RATE * 0.1) * p - RATE * g
        return {"params": p}

    twin = by_leaf(shrink_and_step, entries.grads, entries.params)["params"]
    for coupled in (True, False):
        assert_agree(run(chained(0.1, coupled, oc.scale(1.0)), entries).params, twin, PARAMS)


def test_coupled_and_decoupled_differ_for_adam(entries):
    """The moments rescale the gradient of a penalty: where the gradient is 0 it moves as fast as the loss does."""
    coupled, decoupled, start, rested = (
        vector(tree)
        for tree in (
            run(chained(1e-3, True, oc.scale_by_adam()), entries).params,
            run(chained(1e-3, False, oc.scale_by_adam()), entries).params,
            entries.params,
            blank(entries),
        )
    )
    assert np.abs(coupled - decoupled).max() > 100 * PARAMS * np.abs(decoupled).max()
    coupled, decoupled, start = (np.abs(x)[rested == 1] for x in (coupled, decoupled, start))
    assert decoupled == pytest.approx(start * (1 - RATE * 1e-3) ** STEPS, rel=1e-4)
    assert coupled.mean() < 0.1 * start.mean()


@pytest.mark.parametrize(
    "mask, decayed",
    [
        (None, {"dense/kernel", "dense/bias", "out/kernel", "out/bias"}),
        ("*/kernel", {"dense/kernel", "out/kernel"}),
        ("dense/*", {"dense/kernel", "dense/bias"}),
        (["dense/bias", "out/*"], {"dense/bias", "out/kernel", "out/bias"}),
        (("*/kernel",), {"dense/kernel", "out/kernel"}),
        (oc.is_matrix, {"dense/kernel", "out/kernel"}),
        (lambda path, p: path.startswith("out"), {"out/kernel", "out/bias"}),
        (lambda path, p: False, set()),
        (KERNELS, {"dense/kernel", "out/kernel"}),
        (jax.tree.map(np.bool, KERNELS), {"dense/kernel", "out/kernel"}),
    ],
    ids="none kernels layer several tuple is_matrix predicate nothing tree numpy_tree".split(),
)
@pytest.mark.usefixtures("strict")
def test_decays_what_the_mask_chooses(mask, decayed):
    params = {name: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for name in ("dense", "out")}
    zeros, tx = jax.tree.map(jnp.zeros_like, params), oc.add_decayed_weights(0.5, mask=mask)
    u, _ = tx.update(zeros, tx.init(params), params)
    expected = {
        layer: {name: x * (0.5 if f"{layer}/{name}" in decayed else 0.0) for name, x in leaves.items()}
        for layer, leaves in params.items()
    }
    chex.assert_trees_all_equal(u, expected)


@pytest.mark.parametrize(
    "mask, message",
    [
        ("*/kernels", r"mask '\*/kernels' matches no parameter; did you mean 'out/kernel' or 'dense/kernel'"),
        (["out/*", "head/*"], r"mask 'head/\*' matches no parameter"),
        (
            {"dense": {"kernel": True}, "out": {"kernel": True, "bias": False}},
            "mask has no leaf 'dense/bias'; valid: dense/kernel",
        ),
        (jax.tree.map(float, KERNELS), r"mask gives 0.0 for parameter 'dense/bias'; expected one bool"),
        (lambda path, p: p > 0, r"(?s)mask gives .* for parameter 'dense/bias'; expected one bool"),
    ],
    ids="typo one_of_two other_tree numbers entries".split(),
)
def test_refuses_a_mask_that_fits_no_parameters(mask, message):
    with pytest.raises(ValueError, match=message):
        oc.add_decayed_weights(0.1, mask=mask).init(jax.tree.map(lambda _: jnp.ones(2), KERNELS))


def test_asks_for_the_parameters(entries):
    tx = oc.add_decayed_weights(0.1)
    with pytest.raises(
        ValueError, match=r"add_decayed_weights reads the parameters: call update\(grads, state, params"
    ):
        tx.update(entries.params, tx.init(entries.params))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_decays_low_precision_parameters_without_rounding_in_between(dtype):
    """A relative decay of 1e-3 is below bfloat16's resolution of 1: it must reach the update, not be lost before."""
    p = {"w": jnp.ones(3, dtype)}
    tx = oc.chain(oc.add_decayed_weights(1e-3), oc.scale(1.0))
    u, _ = tx.update({"w": jnp.zeros(3, dtype)}, tx.init(p), p)
    chex.assert_trees_all_equal(u, {"w": jnp.full(3, 1e-3, dtype)})
