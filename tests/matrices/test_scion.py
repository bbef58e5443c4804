import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, moved, run, run_float64
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.matrices.newton_schulz import MUON, polynomials

RATE = -0.01
OPTIONS = [{}, {"norm": "sign", "b": 0.5, "radius": 3.0}, {"norm": "rms", "radius": 2.0}]


def paper(gs, b=0.9, radius=1.0, norm="spectral", ns_steps=5):
    """Algorithm 1 of Pethick et al., without the step along the result."""
    d, updates = np.zeros(gs.shape[1:]), []
    for g in gs:
        d = b * d + (1 - b) * g
        x = d / np.sqrt((d**2).sum())
        if norm == "spectral":
            for a, c3, c5 in polynomials("test", MUON, ns_steps):
                x = a * x + c3 * (x @ x.T) @ x + c5 * (x @ x.T) @ (x @ x.T) @ x
            x = np.sqrt(d.shape[1] / d.shape[0]) * x
        elif norm == "sign":
            x = np.sign(d) / d.shape[0]
        else:
            x = d / np.sqrt((d**2).mean())
        updates.append(radius * x)
    return {"updates": np.stack(updates), "mu": d}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """In float32 Newton-Schulz multiplies rounding by up to 500, see Muon, and signs of what is nearly 0 may flip."""
    twin, tx = by_leaf(paper, recorded_matrices.grads, **options), oc.scale_by_scion(**options)
    assert_agree(run_float64(tx, recorded_matrices).updates, twin["updates"], 1e-9)
    ours = run(tx, recorded_matrices, RATE)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    if options.get("norm") != "sign":
        assert_agree(ours.params, moved(recorded_matrices.params, twin["updates"], RATE), 2e-4)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_the_update_lies_on_the_ball(options):
    """Its operator norm, by its own definition, is the radius; Newton-Schulz reaches it within its bounds."""
    g = jax.random.normal(jax.random.key(0), (12, 30))
    tx = oc.scale_by_scion(**options)
    u = np.asarray(tx.update(g, tx.init(g))[0], np.float64)
    sizes = {
        "spectral": np.linalg.norm(u, 2) * (12 / 30) ** 0.5,
        "sign": np.abs(u).max() * 12,
        "rms": np.sqrt((u**2).mean()),
    }
    norm = options.get("norm", "spectral")
    tolerance = 0.3 if norm == "spectral" else 1e-5
    assert sizes[norm] == pytest.approx(options.get("radius", 1.0), rel=tolerance)


def test_with_weight_decay_the_parameters_stay_in_the_ball():
    tx = oc.chain(
        oc.scale_by_scion(norm="sign", radius=8.0), oc.add_decayed_weights(1.0), oc.scale_by_learning_rate(0.1)
    )
    p, step = jnp.zeros((4, 3)), jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    state = tx.init(p)
    for seed in range(100):
        p, state = step(jnp.ones((4, 3)) + 0.1 * jax.random.normal(jax.random.key(seed), (4, 3)), state, p)
    assert float(jnp.abs(p).max()) == pytest.approx(8 / 4, rel=1e-3)


def test_the_rms_norm_takes_any_shape():
    tree = {"bias": jnp.arange(1.0, 4.0), "scale": jnp.ones(()), "conv": jnp.ones((2, 2, 3, 3))}
    tx = oc.scale_by_scion(norm="rms")
    u, _ = tx.update(tree, tx.init(tree))
    for x in jax.tree.leaves(u):
        assert float(jnp.sqrt(jnp.mean(x**2))) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded_matrices):
    """Its sign norm divides by the length of the second axis: of its inputs, as PyTorch stores matrices."""
    library = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    norms = importlib.import_module("pytorch_optimizer.optimizer.scion").LMONorm
    turned = type(recorded_matrices)(
        *(jax.tree.map(lambda x: jnp.swapaxes(x, -1, -2), tree) for tree in recorded_matrices)
    )

    def make(params):
        group = {"params": params, "norm_type": norms.SIGN, "scale": 3.0}
        return library.SCION([group], lr=-RATE, momentum=0.1, constraint=False, weight_decay=0.0)

    params, _ = run_torch(make, turned)
    ours = run_float64(oc.scale_by_scion(norm="sign", radius=3.0), recorded_matrices, RATE)
    assert_agree(ours.params, jax.tree.map(np.transpose, params), 1e-9)


def test_names_the_nearest_norm():
    with pytest.raises(ValueError, match="scale_by_scion: there is no norm 'spectrum'; did you mean 'spectral'"):
        oc.scale_by_scion(norm="spectrum").init(jnp.ones((2, 2)))
