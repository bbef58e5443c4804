import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import SLOTS, assert_agree, by_leaf, moved, run, run_float64
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.matrices.newton_schulz import MUON, polynomials

RATE = -0.02
OPTIONS = [
    {},
    {"ns_steps": 3, "beta": 0.9, "nesterov": False, "scale": "width"},
    {"beta": 0.0, "eps": 1e-3, "scale": "spectral"},
    {"ns_coeffs": "polar_express", "ns_steps": 8, "scale": "rms"},
]


def paper(gs, ns_steps=5, beta=0.95, eps=1e-8, nesterov=True, ns_coeffs=MUON, scale="none"):
    """Jordan's algorithm; the sum of gradients there is the mean here, times a factor that the norm takes out."""
    rows, columns = gs.shape[1:]
    factor = {
        "none": 1.0,
        "width": max(1, columns / rows) ** 0.5,
        "spectral": (columns / rows) ** 0.5,
        "rms": 0.2 * max(rows, columns) ** 0.5,
    }[scale]
    m, updates = np.zeros((rows, columns)), []
    for g in gs:
        m = beta * m + (1 - beta) * g
        x = beta * m + (1 - beta) * g if nesterov else m
        x = x / (np.sqrt((x**2).sum()) + eps)
        for a, b, c in polynomials("test", ns_coeffs, ns_steps):
            x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
        updates.append(factor * x)
    return {"updates": np.stack(updates), "mu": m}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded_matrices, options):
    ours, twin = (
        run_float64(oc.scale_by_muon(**options), recorded_matrices),
        by_leaf(paper, recorded_matrices.grads, **options),
    )
    assert_agree(ours.state["mu"], twin["mu"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-9)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """Small singular values are multiplied by up to 3.4445**5, or 8.3 * 4.1 * 3.9 * 3.3 * 2.3, and so is rounding."""
    ours, twin = (
        run(oc.scale_by_muon(**options), recorded_matrices, RATE),
        by_leaf(paper, recorded_matrices.grads, **options),
    )
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], 1e-3)
    assert_agree(ours.params, moved(recorded_matrices.params, twin["updates"], RATE), 2e-4)


def in_optax(**options):
    def axes(params):
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), params)

    return optax.contrib.scale_by_muon(**options, weight_dimension_numbers=axes)


def test_agrees_with_optax_without_the_look_ahead(recorded_matrices):
    """The debiasing of optax is a factor, which the norm takes out."""
    ours = run_float64(oc.scale_by_muon(eps=0.0, nesterov=False), recorded_matrices, RATE)
    twin = run_float64(in_optax(eps=0.0, nesterov=False), recorded_matrices, RATE, "standard")
    assert_agree(ours.state["mu"], twin.state.mu, 1e-12)
    # optax keeps its coefficients in float32.
    assert_agree(ours.params, twin.params, 1e-6)


def test_coefficients_step_by_step_are_those_of_optax(recorded_matrices):
    options = {"ns_coeffs": ((2.5, -2.0, 0.5), (1.5, -0.5, 0.0)), "ns_steps": 2, "nesterov": False}
    ours = run_float64(oc.scale_by_muon(eps=0.0, **options), recorded_matrices, RATE)
    twin = run_float64(in_optax(eps=0.0, **options), recorded_matrices, RATE, "standard")
    assert_agree(ours.params, twin.params, 1e-6)


def test_the_adaptive_length_is_that_of_optax_but_for_its_debiasing(recorded_matrices):
    """The inner product with the mean, which optax divides by the weight that it has seen."""
    options = {"eps": 0.0, "nesterov": False, "adaptive": True}
    ours = run_float64(oc.scale_by_muon(**options), recorded_matrices).updates
    twin = run_float64(in_optax(**options), recorded_matrices, 1.0, "standard").updates
    for u, x in zip(jax.tree.leaves(ours), jax.tree.leaves(twin), strict=True):
        seen = 1 - 0.95 ** np.arange(1, len(u) + 1)
        np.testing.assert_allclose(u / seen[:, None, None], x, atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("preconditioning", ["spectral", "schatten", "aol"])
def test_preconditioning_is_that_of_optax(recorded_matrices, preconditioning):
    options = {"eps": 0.0, "nesterov": False, "preconditioning": preconditioning}
    ours = run_float64(oc.scale_by_muon(**options), recorded_matrices, RATE)
    twin = run_float64(in_optax(**options), recorded_matrices, RATE, "standard")
    assert_agree(ours.params, twin.params, 1e-6)


def test_does_not_debias_what_it_looks_ahead_from(recorded_matrices):
    """optax debiases the mean and the gradient, as Nadam does; Jordan and PyTorch do not. It fades with time."""
    ours = run_float64(oc.scale_by_muon(), recorded_matrices).updates
    twin = run_float64(in_optax(), recorded_matrices, 1.0, "standard").updates
    for u, x in zip(jax.tree.leaves(ours), jax.tree.leaves(twin), strict=True):
        early, late = (np.abs(u[t] - x[t]).max() / np.abs(x[t]).max() for t in (1, -1))
        assert early > 0.02 > 1e-3 > late


@pytest.mark.oracles
@pytest.mark.parametrize("options", [{}, {"nesterov": False, "beta": 0.9}], ids=str)
def test_agrees_with_torch_but_for_its_bfloat16(recorded_matrices, options, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    momentum, nesterov = options.get("beta", 0.95), options.get("nesterov", True)

    def make(params):
        return torch.optim.Muon(
            params,
            -RATE,
            weight_decay=0.0,
            momentum=momentum,
            nesterov=nesterov,
            eps=0.0,
            adjust_lr_fn="match_rms_adamw",
        )

    ours = run_float64(oc.scale_by_muon(**options, eps=0.0, scale="rms"), recorded_matrices, RATE)
    rounded, _ = run_torch(make, recorded_matrices)
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    exact, slots = run_torch(make, recorded_matrices)
    assert_agree(ours.params, exact, 1e-9)
    assert_agree(ours.state["mu"], slots["momentum_buffer"], 1e-12)
    assert_agree(ours.params, rounded, 0.05)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(ours.params, rounded, 1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_turns_with_the_space(seed):
    """The update of a rotated gradient is the rotated update."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(6, 4))
    q, r = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (6, 4))
    tx, p = oc.scale_by_muon(), jnp.zeros((6, 4))
    one, other = (tx.update(jnp.asarray(x, jnp.float32), tx.init(p))[0] for x in (g, q @ g @ r))
    np.testing.assert_allclose(q @ np.asarray(one) @ r, other, atol=2e-5)


def test_the_scales_give_the_sizes_that_they_promise():
    for shape in ((16, 64), (64, 16)):
        g = {"w": jax.random.normal(jax.random.key(0), shape)}

        def update(scale, g=g):
            tx = oc.scale_by_muon(ns_steps=8, ns_coeffs="polar_express", scale=scale)
            return np.asarray(tx.update(g, tx.init(g))[0]["w"])

        assert np.sqrt((update("rms") ** 2).mean()) == pytest.approx(0.2, rel=1e-4)
        assert np.linalg.norm(update("spectral"), 2) == pytest.approx((shape[1] / shape[0]) ** 0.5, rel=1e-4)
        assert np.linalg.norm(update("width"), 2) == pytest.approx(max(1, shape[1] / shape[0]) ** 0.5, rel=1e-4)


def test_a_convolution_needs_a_view_and_is_then_one_matrix():
    g = {"conv": jax.random.normal(jax.random.key(0), (3, 3, 4, 8))}
    with pytest.raises(ValueError, match=r"scale_by_muon looks across 2 axes: leaf 'conv' has shape \(3, 3, 4, 8\)"):
        oc.scale_by_muon().init(g)
    tx, flat = oc.as_matrices(oc.scale_by_muon(), {"conv": "h w i o -> (h w i) o"}), g["conv"].reshape(36, 8)
    one, _ = tx.update(g, tx.init(g))
    other, _ = oc.scale_by_muon().update(flat, oc.scale_by_muon().init(flat))
    np.testing.assert_array_equal(one["conv"].reshape(36, 8), other)


def test_leaves_of_one_shape_run_together():
    params = {f"layer_{i}": jnp.ones((8, 8)) for i in range(6)}
    tx = oc.scale_by_muon()
    text = str(jax.make_jaxpr(lambda g: tx.update(g, tx.init(params))[0])(params))
    assert text.count("dot_general") == 3 * 5
    grads = {name: jax.random.normal(jax.random.key(i), (8, 8)) for i, name in enumerate(params)}
    together, _ = tx.update(grads, tx.init(params))
    for name, g in grads.items():
        np.testing.assert_allclose(tx.update(g, tx.init(g))[0], together[name], atol=1e-5)


def test_wrong_names_are_told():
    p = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="scale_by_muon: there are no ns_coeffs 'polar_exp'; did you mean 'polar_ex"):
        oc.scale_by_muon(ns_coeffs="polar_exp").init(p)
    with pytest.raises(ValueError, match="there is no preconditioning 'aoll'; did you mean 'aol'"):
        oc.scale_by_muon(preconditioning="aoll").init(p)
    with pytest.raises(ValueError, match="scale_by_muon: there is no scale 'size'; valid: none, rms, spectral, width"):
        oc.scale_by_muon(scale="size").init(p)
