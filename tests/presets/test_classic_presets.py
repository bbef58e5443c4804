"""Whole optimizers: the papers' algorithms, parameters included, against the presets."""

import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from techniques import PRESETS
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.presets import classic


def descent(gs, p, learning_rate, momentum=0.0, nesterov=False):
    m = np.zeros_like(p)
    for g in gs:
        m = momentum * m + g
        p = p - learning_rate * (g + momentum * m if nesterov else m)
    return {"params": p}


def heavy_ball(gs, p, learning_rate, decay=0.9):
    return descent(gs, p, learning_rate, decay)


def accelerated(gs, p, learning_rate, decay=0.9):
    return descent(gs, p, learning_rate, decay, nesterov=True)


def adagrad(gs, p, learning_rate, initial_accumulator_value=0.1, eps=1e-7):
    total = np.full_like(p, initial_accumulator_value)
    for g in gs:
        total = total + g**2
        p = p - learning_rate * g / np.sqrt(total + eps)
    return {"params": p}


def rmsprop(
    gs, p, learning_rate, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, centered=False,
    momentum=0.0, nesterov=False, bias_correction=False, rate_inside=False,
):  # fmt: skip
    """With momentum on the scaled gradients; `rate_inside` puts the rate before the momentum, not after."""
    mu, nu, m = np.zeros_like(p), np.full_like(p, initial_scale), np.zeros_like(p)
    for t, g in enumerate(gs):
        mu = decay * mu + (1 - decay) * g
        nu = decay * nu + (1 - decay) * g**2
        weight = 1 - decay ** (t + 1) if bias_correction else 1
        square = np.maximum(nu / weight - (mu / weight) ** 2, 0) if centered else nu / weight
        u = g / (np.sqrt(square + eps) if eps_in_sqrt else np.sqrt(square) + eps)
        rate = learning_rate(t) if callable(learning_rate) else learning_rate
        before, after = (rate, 1) if rate_inside else (1, rate)
        m = momentum * m + before * u
        p = p - after * (before * u + momentum * m if nesterov else m)
    return {"params": p}


def adamw(gs, p, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        step = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
        p = p - learning_rate * (step + weight_decay * p)
    return {"params": p}


def adam(gs, p, learning_rate, **options):
    return adamw(gs, p, learning_rate, **options, weight_decay=0.0)


def lion(gs, p, learning_rate, b1=0.9, b2=0.99, weight_decay=1e-3):
    m = np.zeros_like(p)
    for g in gs:
        p = p - learning_rate * (np.sign(b1 * m + (1 - b1) * g) + weight_decay * p)
        m = b2 * m + (1 - b2) * g
    return {"params": p}


CASES = [
    ("sgd", descent, {"learning_rate": 0.1}),
    ("sgd", descent, {"learning_rate": 0.1, "momentum": 0.9}),
    ("sgd", descent, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("momentum", heavy_ball, {"learning_rate": 0.05}),
    ("nesterov", accelerated, {"learning_rate": 0.05, "decay": 0.95}),
    ("adagrad", adagrad, {"learning_rate": 0.1}),
    ("adagrad", adagrad, {"learning_rate": 0.1, "initial_accumulator_value": 1.0, "eps": 1e-3}),
    ("rmsprop", rmsprop, {"learning_rate": 1e-3}),
    ("rmsprop", rmsprop, {"learning_rate": 1e-3, "eps": 1e-4, "eps_in_sqrt": False, "momentum": 0.9}),
    ("rmsprop", rmsprop, {"learning_rate": 1e-3, "eps": 1e-3, "centered": True, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", rmsprop, {"learning_rate": 1e-3, "decay": 0.5, "initial_scale": 1.0, "bias_correction": True}),
    ("adam", adam, {"learning_rate": 1e-3}),
    ("adam", adam, {"learning_rate": 1e-2, "b1": 0.5, "b2": 0.9, "eps": 1e-6, "eps_root": 1e-8}),
    ("adamw", adamw, {"learning_rate": 1e-2, "weight_decay": 0.1}),
    ("lion", lion, {"learning_rate": 1e-3, "weight_decay": 0.1}),
]
every_case = pytest.mark.parametrize(
    "name, law, options", one_of_each(CASES, lambda case: case[0]), ids=lambda x: x if isinstance(x, str) else ""
)


def test_every_preset_has_a_case():
    """Those of other modules have tests of their own."""
    assert {name for name, _, _ in CASES} == {name for name in PRESETS if vars(classic).get(name) is getattr(oc, name)}


@every_case
def test_agrees_with_the_paper(recorded, name, law, options):
    tx, twin = getattr(oc, name)(**options), by_leaf(law, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(tx, recorded).params, twin, 1e-11)
    if name != "lion":  # whose sign may flip, in float32, where its argument is 0 within rounding
        assert_agree(run(tx, recorded).params, twin, PARAMS)


@every_case
def test_agrees_with_optax(recorded, name, law, options):
    if name in ("momentum", "nesterov"):
        rate, decay = options["learning_rate"], options.get("decay", 0.9)
        twin = optax.sgd(rate, decay, nesterov=name == "nesterov")
    else:
        twin = getattr(optax, name)(**options)
    tx = getattr(oc, name)(**options)
    if name == "lion":
        assert_agree(run_float64(tx, recorded).params, run_float64(twin, recorded, promotion="standard").params, 1e-11)
    else:
        assert_agree(run(tx, recorded).params, run_twin(twin, recorded).params, PARAMS)


TORCH = [
    (oc.sgd(0.1), "torch.optim.SGD", {"lr": 0.1}),
    (oc.momentum(0.1), "torch.optim.SGD", {"lr": 0.1, "momentum": 0.9}),
    (oc.nesterov(0.1, 0.95), "torch.optim.SGD", {"lr": 0.1, "momentum": 0.95, "nesterov": True}),
    (
        oc.rmsprop(1e-3, 0.99, 1e-4, eps_in_sqrt=False, momentum=0.9),
        "torch.optim.RMSprop",
        {"lr": 1e-3, "alpha": 0.99, "eps": 1e-4, "momentum": 0.9},
    ),
    (
        oc.rmsprop(1e-3, 0.99, 1e-3, eps_in_sqrt=False, momentum=0.9, centered=True),
        "torch.optim.RMSprop",
        {"lr": 1e-3, "alpha": 0.99, "eps": 1e-3, "momentum": 0.9, "centered": True},
    ),
    (oc.adam(1e-2), "torch.optim.Adam", {"lr": 1e-2}),
    (oc.adamw(1e-2, weight_decay=0.1), "torch.optim.AdamW", {"lr": 1e-2, "weight_decay": 0.1}),
    (oc.lion(1e-3, weight_decay=0.1), "pytorch_optimizer.Lion", {"lr": 1e-3, "weight_decay": 0.1}),
]


@pytest.mark.oracles
@pytest.mark.parametrize("tx, twin, options", TORCH, ids=[f"{tx.link.name}{i}" for i, (tx, _, _) in enumerate(TORCH)])
def test_agrees_with_torch(recorded, tx, twin, options):
    module, _, name = twin.rpartition(".")
    make = getattr(pytest.importorskip(module, reason=f"{module} is in the extra `oracles`"), name)
    params, _ = run_torch(lambda p: make(p, **options), recorded)
    assert_agree(run_float64(tx, recorded).params, params, 1e-11)


def test_the_momentum_of_rmsprop_comes_before_the_rate(recorded):
    """As in torch. In optax the momentum remembers the rates of its time: it differs under a schedule."""

    def schedule(step):
        return 1e-3 * 0.98**step

    def scheduled(step):
        return schedule(step.astype("float32"))

    ours = run(oc.rmsprop(scheduled, momentum=0.9), recorded).params
    theirs = run_twin(optax.rmsprop(scheduled, momentum=0.9), recorded).params
    options = {"learning_rate": schedule, "momentum": 0.9}
    after, before = (by_leaf(rmsprop, *recorded[::-1], **options, rate_inside=x)["params"] for x in (False, True))
    assert_agree(ours, after, PARAMS)
    assert_agree(theirs, before, PARAMS)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(ours, theirs, 100 * PARAMS)


@pytest.mark.parametrize("make", [oc.adamw, oc.lion])
def test_decays_what_the_mask_chooses(recorded, make):
    plain, masked = (make(0.01, weight_decay=x, mask="*/kernel") for x in (0.0, 0.5))
    plain, masked = run(plain, recorded).params, run(masked, recorded).params
    for (path, x), free in zip(jax.tree.leaves_with_path(masked), jax.tree.leaves(plain), strict=True):
        if path[-1].key == "kernel":
            assert np.linalg.norm(x) < 0.9 * np.linalg.norm(free)
        else:
            assert np.array_equal(x, free)


@pytest.mark.parametrize(
    "tx, links",
    [
        (oc.sgd(0.1), ["lr"]),
        (oc.sgd(0.1, 0.9), ["momentum", "lr"]),
        (oc.adagrad(0.1), ["rss", "lr"]),
        (oc.rmsprop(0.1, momentum=0.9), ["rms", "momentum", "lr"]),
        (oc.adam(0.1), ["adam", "lr"]),
        (oc.adamw(0.1), ["adam", "decay", "lr"]),
        (oc.lion(0.1), ["lion", "decay", "lr"]),
    ],
    ids="sgd sgd_momentum adagrad rmsprop adam adamw lion".split(),
)
def test_links_have_short_names(tx, links):
    assert [name for name, _ in tx.link.links] == links
    state = tx.init({"w": jax.numpy.ones(2)})
    assert set(state["links"]) == set(links) and "lr.learning_rate" in oc.metrics(state)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: oc.adam("0.1"), r"learning_rate must be a scalar in \(-inf, inf\) or a schedule, got '0.1'"),
        (lambda: oc.adamw(0.1, weight_decay=-1), r"add_decayed_weights: weight_decay must lie in \[0, inf\), got -1"),
        (lambda: oc.sgd(0.1, momentum=1.0), r"trace: decay must lie in \[0, 1\), got 1.0"),
        (lambda: oc.rmsprop(0.1, centered=True, eps=-1.0), r"scale_by_stddev: eps must lie in \[0, inf\), got -1.0"),
        (lambda: oc.lion(0.1, b2=float("nan")), r"scale_by_lion: b2 must lie in \[0, 1\), got nan"),
    ],
    ids="string negative one negative_eps nan".split(),
)
def test_refuses_what_its_links_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
