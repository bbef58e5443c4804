"""The arguments of optax that change the mathematics: on recorded gradients they do here what they do there."""

import jax
import optax
import pytest
from agreement import PARAMS, QUICKLY, assert_agree

import optchain as oc

RATE = 1e-2
CLIP = lambda step: (step + 1.0) ** 0.1 - 1  # noqa: E731
FACTORED, SM3 = {"min_dim_size_to_factor": 8}, {"b2": 0.9, "eps": 1e-6}


def ours(tx, rate=RATE):
    """A technique downhill."""
    return oc.chain(tx, oc.scale(-rate))


def theirs(tx, rate=RATE):
    return optax.chain(tx, optax.scale(-rate))


PAIRS = {
    "adam(nesterov=)": (oc.adam(RATE, nesterov=True), optax.adam(RATE, nesterov=True)),
    "adamw(nesterov=)": (
        oc.adamw(RATE, eps_root=1e-8, weight_decay=0.1, nesterov=True),
        optax.adamw(RATE, eps_root=1e-8, weight_decay=0.1, nesterov=True),
    ),
    "adabelief(nesterov=)": (oc.adabelief(RATE, nesterov=True), optax.adabelief(RATE, nesterov=True)),
    "radam(nesterov=)": (oc.radam(RATE, b2=0.9, nesterov=True), optax.radam(RATE, b2=0.9, nesterov=True)),
    "adopt(nesterov=)": (oc.adopt(RATE, nesterov=True), optax.contrib.adopt(RATE, nesterov=True)),
    # As the error of this argument says.
    "adopt(clip_value_fn=)": (
        oc.chain(oc.scale_by_adopt(b1=0.0, use_clipping=False), oc.clip(CLIP), ours(oc.ema(0.9, debias=False))),
        optax.contrib.adopt(RATE, clip_value_fn=CLIP),
    ),
    "scale_by_lion(mode='smooth')": (
        ours(oc.scale_by_lion(mode="smooth", smooth_beta=50.0)),
        theirs(optax.scale_by_lion(mode="smooth", smooth_beta=50.0)),
    ),
    "scale_by_lion(mode='refined')": (
        oc.chain(oc.scale(100.0), ours(oc.scale_by_lion(mode="refined"))),
        optax.chain(optax.scale(100.0), theirs(optax.scale_by_lion(mode="refined"))),
    ),
    "scale_by_sm3(b2=)": (
        oc.chain(oc.scale_by_sm3(**SM3), ours(oc.ema(0.9, debias=False))),
        theirs(optax.scale_by_sm3(**SM3)),
    ),
    "adadelta(weight_decay=)": (oc.adadelta(1.0, weight_decay=0.1), optax.adadelta(1.0, weight_decay=0.1)),
    "adafactor(factored=)": (oc.adafactor(RATE, factored=False), optax.adafactor(RATE, factored=False)),
    "adafactor(weight_decay_rate=)": (
        oc.adafactor(RATE, weight_decay_rate=1e-3, mask="*/kernel", **FACTORED),
        optax.adafactor(
            RATE, weight_decay_rate=1e-3, weight_decay_mask=lambda p: {x: "kernel" in x for x in p}, **FACTORED
        ),
    ),
    "adaptive_grad_clip(axis=)": (
        ours(oc.adaptive_grad_clip(0.01, axis=-1), 1.0),
        theirs(optax.adaptive_grad_clip(0.01, axis=-1), 1.0),
    ),
    "fromage(min_norm=)": (oc.fromage(RATE, min_norm=0.3), optax.fromage(RATE, min_norm=0.3)),
}


@pytest.fixture(scope="module")
def trained(recorded):
    """The parameters that each pair leads to; all of them are one program, on a matrix and a vector."""
    digits = (tree["digits"] for tree in recorded)
    params, grads = ({"dense/kernel": x["dense"]["kernel"], "out/bias": x["out"]["bias"]} for x in digits)

    def after(tx, carry, g):
        updates, state = tx.update(g, carry[1], carry[0])
        return optax.apply_updates(carry[0], updates), state

    def step(carries, g):
        return {name: [after(*x, g) for x in zip(PAIRS[name], carries[name], strict=True)] for name in carries}, None

    start = {name: [(params, tx.init(params)) for tx in pair] for name, pair in PAIRS.items()}
    with jax.numpy_dtype_promotion("standard"):
        compiled = jax.jit(lambda start, grads: jax.lax.scan(step, start, grads)[0], compiler_options=QUICKLY)
        return {name: [params for params, _ in pair] for name, pair in compiled(start, grads).items()}


@pytest.mark.parametrize("name", PAIRS)
def test_does_what_it_does_in_optax(trained, name):
    assert_agree(*trained[name], PARAMS)
