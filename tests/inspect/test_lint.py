"""Mistakes that are planted are found, with their places, and what is right is left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import PRESETS, TECHNIQUES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.describe import technique
from optchain.core.paths import names_of
from optchain.core.states import owners
from optchain.core.walk import walk
from optchain.inspect.lints.roles import CHANGES_THE_STEP
from optchain.masking.mask_updates import finite

SHAPES = {
    "embed": {"embedding": (6, 4)},
    "dense": {"kernel": (4, 4), "bias": (4,)},
    "norm": {"scale": (4,)},
}
PARAMS = jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
)
HALF = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.bfloat16), PARAMS)
KERNEL, REST = "*/kernel", ("*/bias", "*/scale", "*/embedding")

adam, lr, decay, clip = oc.scale_by_adam, oc.scale_by_learning_rate, oc.add_decayed_weights, oc.clip_by_global_norm


def own_adam(rate=1.0, sign=-1.0):
    """A user's own transformation, without a definition."""
    inner = optax.scale_by_adam()

    def update(updates, state, params=None):
        updates, state = inner.update(updates, state, params)
        return jax.tree.map(lambda u: sign * rate * u, updates), state

    return optax.GradientTransformation(inner.init, update)


def frozen_by_optax(adds):
    return oc.chain(
        adam=adam(),
        zero=optax.masked(optax.set_to_zero(), {"embed": True, "dense": False, "norm": False}),
        decay=adds,
        lr=lr(1e-3),
    )


UPPER = jax.tree.map(lambda p: jnp.ones(p.shape, bool), PARAMS)
UPPER["dense"] = {"kernel": jnp.triu(jnp.ones((4, 4), bool)), "bias": jnp.ones(4, bool)}
WARM = optax.warmup_cosine_decay_schedule
# What is wrong: check, severity, a name in `where`, the fault, the repaired version, and the arguments of `lint`.
FAULTS = {
    "no flip": ("uphill", "error", "lr", oc.chain(adam=adam(), lr=oc.scale(1e-3)), oc.adam(1e-3), {}),
    "flipped twice": (
        "uphill",
        "error",
        "down",
        oc.chain(adam=adam(), lr=lr(1e-3), down=oc.scale(-1.0)),
        oc.chain(adam=adam(), lr=lr(1e-3, flip_sign=False), down=oc.scale(-1.0)),
        {},
    ),
    "a negative rate": ("uphill", "error", "lr", oc.adam(-1e-3), oc.adam(1e-3), {}),
    "optax without a flip": (
        "uphill",
        "error",
        "chain",
        optax.chain(optax.scale_by_adam(), optax.scale(1e-3)),
        optax.adam(1e-3),
        {},
    ),
    "optax flipped twice": (
        "uphill",
        "error",
        "scale",
        oc.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(1e-3), minus=optax.scale(-1.0)),
        oc.chain(optax.scale_by_adam(), optax.scale(1e-3), minus=optax.scale(-1.0)),
        {},
    ),
    "optax within a rate": (
        "uphill",
        "error",
        "lr",
        oc.chain(inner=optax.adamw(1e-3), lr=lr(1.0)),
        oc.chain(inner=optax.adamw(1e-3)),
        {},
    ),
    "two rates": (
        "two-rates",
        "warning",
        "outer",
        oc.chain(inner=adam(), lr=lr(1e-3), outer=lr(1e-2, flip_sign=False)),
        oc.adam(1e-3),
        {},
    ),
    "two rates of optax": (
        "two-rates",
        "warning",
        "outer",
        oc.chain(inner=optax.adam(1e-3), outer=optax.scale(1e-2)),
        oc.chain(inner=optax.adam(1e-3), outer=optax.scale(0.5)),
        {},
    ),
    "a rate beside prodigy": (
        "two-rates",
        "warning",
        "lr",
        oc.chain(own=oc.scale_by_prodigy(), lr=lr(1e-3)),
        oc.chain(own=oc.scale_by_prodigy(), lr=lr(1.0)),
        {},
    ),
    "two rates through masks": (
        "masks-overlap",
        "error",
        "b",
        oc.chain(
            adam=adam(),
            a=lr(1e-3, mask=KERNEL),
            b=lr(1e-2, flip_sign=False, mask="dense/*"),
            c=lr(1e-3, mask=("embed/*", "norm/*")),
        ),
        oc.chain(adam=adam(), a=lr(1e-3, mask=KERNEL), b=lr(1e-2, mask=REST)),
        {},
    ),
    "no rate": ("no-rate", "error", "down", oc.chain(adam=adam(), down=oc.scale(-1.0)), oc.adam(1e-3), {}),
    "no rate for gradients": (
        "no-rate",
        "warning",
        "down",
        oc.chain(clip=clip(1.0), down=oc.scale(-1.0)),
        oc.chain(clip=clip(1.0), lr=lr(1.0)),
        {},
    ),
    "optax without a rate": (
        "no-rate",
        "error",
        "chain",
        optax.chain(optax.scale_by_adam(), optax.scale(-1.0)),
        optax.adam(1e-3),
        {},
    ),
    "an own one without a rate": ("no-rate", "error", "own_adam", own_adam(), own_adam(1e-3), {}),
    "a huge rate": ("step-too-large", "warning", "dense/kernel", oc.adam(1.0), oc.adam(1e-2), {}),
    "a tiny rate": ("step-too-small", "warning", "dense/kernel", oc.adam(1e-12), oc.adam(1e-3), {}),
    "decay after the rate": (
        "growth",
        "error",
        "decay",
        oc.chain(adam=adam(), lr=lr(1e-3), decay=decay(0.01)),
        oc.chain(adam=adam(), decay=decay(0.01), lr=lr(1e-3)),
        {},
    ),
    "decay of optax after the rate": (
        "growth",
        "error",
        "chain",
        optax.chain(optax.adam(1e-3), optax.add_decayed_weights(0.01)),
        optax.adamw(1e-3, weight_decay=0.01),
        {},
    ),
    "decay without the rate": (
        "decay-too-large",
        "error",
        "decay",
        oc.chain(adam=adam(), lr=oc.scale(1e-3), decay=decay(0.9), down=oc.scale(-1.0)),
        oc.chain(adam=adam(), decay=decay(0.9), lr=lr(1e-3)),
        {},
    ),
    "decay through the moments": (
        "decay-before-moments",
        "warning",
        "decay",
        oc.chain(decay=decay(0.01), adam=adam(), lr=lr(1e-3)),
        oc.adamw(1e-3, weight_decay=0.01),
        {},
    ),
    "decay of optax through the moments": (
        "decay-before-moments",
        "warning",
        "decay",
        oc.chain(decay=optax.add_decayed_weights(0.01), adam=optax.scale_by_adam(), lr=lr(1e-3)),
        oc.chain(decay=optax.add_decayed_weights(0.01), momentum=optax.trace(0.9), lr=lr(1e-3)),
        {},
    ),
    "decay of biases": (
        "decay-of-vectors",
        "note",
        "decay",
        oc.adamw(1e-3, weight_decay=0.1),
        oc.adamw(1e-3, weight_decay=0.1, mask=oc.is_kernel),
        {},
    ),
    "clip after the moments": (
        "clip-after-moments",
        "warning",
        "clip",
        oc.chain(adam=adam(), clip=clip(1.0), lr=lr(1e-3)),
        oc.chain(clip=clip(1.0), adam=adam(), lr=lr(1e-3)),
        {},
    ),
    "clip after the rate": (
        "clip-after-rate",
        "warning",
        "clip",
        oc.chain(inner=optax.adam(1e-3), clip=optax.clip_by_global_norm(1.0)),
        oc.chain(clip=optax.clip_by_global_norm(1.0), inner=optax.adam(1e-3)),
        {},
    ),
    "an idle clip": (
        "idle-clip",
        "warning",
        "second",
        oc.chain(first=clip(1.0), second=oc.clip(2.0), lr=lr(1e-3)),
        oc.chain(first=clip(1.0), second=oc.clip(0.1), lr=lr(1e-3)),
        {},
    ),
    "moments twice": (
        "moments-twice",
        "warning",
        "lion",
        oc.chain(adam=adam(), lion=oc.scale_by_lion(), lr=lr(1e-3)),
        oc.chain(momentum=oc.trace(0.9), lion=oc.scale_by_lion(), lr=lr(1e-3)),
        {},
    ),
    "moments of optax twice": (
        "moments-twice",
        "warning",
        "rms",
        oc.chain(rms=optax.scale_by_rms(), inner=optax.adam(1e-3)),
        oc.chain(inner=optax.adam(1e-3)),
        {},
    ),
    "moments through masks": (
        "masks-overlap",
        "warning",
        "b",
        oc.chain(a=adam(mask="dense/*"), b=oc.scale_by_rms(mask=("*/bias", "embed/*", "norm/*")), lr=lr(1e-3)),
        oc.chain(a=adam(mask="dense/*"), b=oc.scale_by_rms(mask=("embed/*", "norm/*")), lr=lr(1e-3)),
        {},
    ),
    "momentum after the rate": (
        "momentum-after-rate",
        "note",
        "momentum",
        oc.chain(lr=lr(oc.cosine(0.1, steps=100)), momentum=oc.trace(0.9)),
        oc.chain(momentum=oc.trace(0.9), lr=lr(oc.cosine(0.1, steps=100))),
        {},
    ),
    "a long first moment": (
        "momentum-outlives-squares",
        "warning",
        "adam",
        oc.adam(1e-3, b1=0.99, b2=0.95),
        oc.adam(1e-3, b1=0.9, b2=0.95),
        {},
    ),
    "a rate of some": (
        "out-of-reach-of-rate",
        "error",
        "lr",
        oc.chain(adam=adam(), lr=lr(1e-3, mask=KERNEL)),
        oc.chain(adam=adam(), lr=lr(1e-3, mask=KERNEL), rest=lr(1e-2, mask=REST)),
        {},
    ),
    "moments of some": (
        "out-of-reach-of-moments",
        "warning",
        "norm/scale",
        oc.chain(adam=adam(mask=KERNEL), lr=lr(1e-3)),
        oc.chain(adam=adam(mask=KERNEL), rest=oc.scale_by_rms(mask=REST), lr=lr(1e-3)),
        {},
    ),
    "a rate of 0": ("never-moves", "error", "lr", oc.sgd(0.0), oc.sgd(0.1), {}),
    "optax at rest": ("never-moves", "error", "chain", optax.adam(0.0), optax.adam(1e-3), {}),
    "decay of what is masked": (
        "moves-again",
        "error",
        "zero",
        frozen_by_optax(decay(0.01)),
        frozen_by_optax(decay(0.01, mask="dense/*")),
        {},
    ),
    "decay of entries that are masked": (
        "moves-again",
        "error",
        "upper",
        oc.chain(adam=adam(), upper=oc.mask_updates(UPPER), decay=decay(0.01), lr=lr(1e-3)),
        oc.chain(adam=adam(), decay=decay(0.01), lr=lr(1e-3), upper=oc.mask_updates(UPPER)),
        {},
    ),
    "noise on what is masked": (
        "moves-again",
        "error",
        "noise",
        oc.chain(lr=lr(0.1), still=oc.scale(0.0, mask="norm/*"), noise=oc.add_noise(0.1, 0.55, 0)),
        oc.chain(lr=lr(0.1), noise=oc.add_noise(0.1, 0.55, 0), still=oc.scale(0.0, mask="norm/*")),
        {},
    ),
    "a schedule of micro-batches": (
        "counts-micro-batches",
        "warning",
        "lr",
        oc.chain(inner=oc.accumulate(adam(), 4), lr=lr(oc.cosine(1e-3, steps=100))),
        oc.accumulate(oc.chain(inner=adam(), lr=lr(oc.cosine(1e-3, steps=100))), 4),
        {},
    ),
    "an average of micro-batches": (
        "counts-micro-batches",
        "warning",
        "average",
        oc.chain(inner=oc.accumulate(oc.adam(1e-3), 4), average=oc.average_params(0.9)),
        oc.accumulate(oc.chain(inner=oc.adam(1e-3), average=oc.average_params(0.9)), 4),
        {},
    ),
    "a clip of micro-batches": (
        "clips-micro-batches",
        "note",
        "clip",
        oc.chain(clip=clip(1.0), inner=oc.accumulate(oc.adam(1e-3), 4)),
        oc.accumulate(oc.chain(clip=clip(1.0), inner=oc.adam(1e-3)), 4),
        {},
    ),
    "a schedule longer than the run": (
        "schedule-cut-off",
        "warning",
        "lr",
        oc.adam(oc.cosine(1e-3, steps=5000)),
        oc.adam(oc.cosine(1e-3, steps=1000)),
        {"steps": 1000},
    ),
    "a schedule of optax longer than the run": (
        "schedule-cut-off",
        "warning",
        "rate",
        oc.chain(adam=adam(), rate=optax.scale_by_schedule(WARM(0, -1e-3, 10, 5000))),
        oc.chain(adam=adam(), rate=optax.scale_by_schedule(WARM(0, -1e-3, 10, 1000))),
        {"steps": 1000},
    ),
    "a schedule of micro-batches within": (
        "schedule-cut-off",
        "warning",
        "lr",
        oc.accumulate(oc.adam(oc.cosine(1e-3, steps=1000)), 4),
        oc.accumulate(oc.adam(oc.cosine(1e-3, steps=250)), 4),
        {"steps": 1000},
    ),
    "a schedule shorter than the run": (
        "rate-zero-at-the-end",
        "warning",
        "lr",
        oc.adam(oc.cosine(1e-3, steps=500)),
        oc.adam(oc.cosine(1e-3, steps=1000)),
        {"steps": 1000},
    ),
    "a schedule within optax": (
        "rate-zero-at-the-end",
        "warning",
        "chain",
        optax.adam(optax.cosine_decay_schedule(1e-3, 500)),
        optax.adam(optax.cosine_decay_schedule(1e-3, 1000)),
        {"steps": 1000},
    ),
    "a guard of optax that is narrow": (
        "guard-too-narrow",
        "warning",
        "momentum",
        oc.chain(momentum=optax.trace(0.9), inner=optax.apply_if_finite(optax.adam(1e-3), 3)),
        oc.chain(inner=optax.apply_if_finite(optax.chain(optax.trace(0.9), optax.adam(1e-3)), 3)),
        {},
    ),
    "an average of micro-batches of optax": (
        "counts-micro-batches",
        "warning",
        "average",
        oc.chain(inner=optax.MultiSteps(optax.adam(1e-3), 4).gradient_transformation(), average=oc.average_params(0.9)),
        oc.accumulate(oc.chain(inner=optax.adam(1e-3), average=oc.average_params(0.9)), 4),
        {},
    ),
    "a long warm-up": (
        "warmup-too-long",
        "warning",
        "lr",
        oc.adam(WARM(0, 1e-3, 5000, 10_000)),
        oc.adam(WARM(0, 1e-3, 50, 1000)),
        {"steps": 1000},
    ),
    "mostly warm-up": (
        "warmup-too-long",
        "warning",
        "lr",
        oc.adam(oc.warmup_cosine(1e-3, 800, 1000)),
        oc.adam(oc.warmup_cosine(1e-3, 80, 1000)),
        {"steps": 1000},
    ),
    "no peak": (
        "rate-always-zero",
        "error",
        "lr",
        oc.adam(oc.warmup_cosine(0.0, 80, 1000)),
        oc.adam(oc.warmup_cosine(1e-3, 80, 1000)),
        {"steps": 1000},
    ),
    "a long average": (
        "average-too-long",
        "warning",
        "average",
        oc.chain(inner=oc.adam(1e-3), average=oc.average_params(0.9999)),
        oc.chain(inner=oc.adam(1e-3), average=oc.average_params(0.99)),
        {"steps": 1000},
    ),
    "a long moment": (
        "moment-too-long",
        "note",
        "adam",
        oc.adam(1e-3, b2=0.9999),
        oc.adam(1e-3, b2=0.999),
        {"steps": 1000},
    ),
    "a narrow guard": (
        "guard-too-narrow",
        "warning",
        "momentum",
        oc.chain(momentum=oc.trace(0.9), inner=oc.guard(oc.adam(1e-3))),
        oc.guard(oc.chain(momentum=oc.trace(0.9), inner=oc.adam(1e-3))),
        {},
    ),
    "an average in the middle": (
        "average-before-the-end",
        "error",
        "average",
        oc.chain(adam=adam(), average=oc.average_params(0.9), lr=lr(1e-3)),
        oc.chain(adam=adam(), lr=lr(1e-3), average=oc.average_params(0.9)),
        {},
    ),
    "an average within lookahead": (
        "average-within",
        "warning",
        "average",
        oc.lookahead(oc.chain(inner=oc.adam(1e-3), average=oc.average_params(0.9)), 5, 0.5),
        oc.chain(inner=oc.lookahead(oc.adam(1e-3), 5, 0.5), average=oc.average_params(0.9)),
        {},
    ),
    "an average within mechanize": (
        "average-within",
        "warning",
        "average",
        oc.guard(oc.mechanize(oc.chain(inner=oc.adam(1e-3), average=oc.polyak_average()))),
        oc.guard(oc.chain(inner=oc.mechanize(oc.adam(1e-3)), average=oc.polyak_average())),
        {},
    ),
    "precision within a chain": (
        "precision-without-effect",
        "error",
        "inner",
        oc.chain(clip=clip(1.0), inner=oc.precision(oc.adam(1e-3), "kahan")),
        oc.precision(oc.chain(clip=clip(1.0), inner=oc.adam(1e-3)), "kahan"),
        {"params": HALF},
    ),
    "bfloat16": (
        "rounded-away",
        "warning",
        "dense/kernel",
        oc.adam(1e-5),
        oc.precision(oc.adam(1e-5), "kahan"),
        {"params": HALF},
    ),
    "bfloat16 of optax": (
        "rounded-away",
        "warning",
        "dense/kernel",
        optax.adam(1e-5),
        oc.precision(oc.chain(optax.adam(1e-5)), "stochastic"),
        {"params": HALF},
    ),
}


def linted(tx, params=PARAMS, **options):
    """The findings, each of which must name what there is."""
    found = oc.lint(tx, params, **options)
    links = {prefix or technique(inner).rpartition(".")[2] for prefix, inner in walk(tx)}
    assert set().union(*(x.where for x in found)) <= links | set(names_of(params))
    assert all(x.severity in ("error", "warning", "note") and x.where and x.says and x.cure for x in found)
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    check, severity, where, wrong, _, options = FAULTS[fault]
    found = [x for x in linted(wrong, **options) if x.check == check]
    assert found, linted(wrong, **options)
    assert {x.severity for x in found} == {severity}
    assert where in [name for x in found for name in x.where]


@pytest.mark.parametrize("fault", FAULTS)
def test_its_repaired_version_is_clean_of_it(fault):
    check, _, _, _, repaired, options = FAULTS[fault]
    assert check not in [x.check for x in linted(repaired, **options)]


WARM_UP = optax.linear_schedule(0.0, 1.0, 100)
# What people write and what is right: nothing may be found in it.
RECIPES = {
    "optax.sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "optax.adamw": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(WARM(0, 1e-3, 100, 1000))),
    "optax.lion": optax.lion(1e-4),
    "optax.adafactor": optax.adafactor(1e-3),
    "optax.lamb": optax.lamb(1e-3),
    "optax.rmsprop": optax.rmsprop(1e-3, momentum=0.9),
    "optax.schedule_free": optax.contrib.schedule_free_adamw(1e-3),
    "optax.prodigy": optax.contrib.prodigy(),
    "optax.MultiSteps": optax.MultiSteps(optax.adam(1e-3), 4).gradient_transformation(),
    "optax.apply_if_finite": optax.apply_if_finite(optax.adam(1e-3), 3),
    "optax.inject_hyperparams": optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
    "optax.masked": optax.chain(
        optax.scale_by_adam(),
        optax.masked(optax.add_decayed_weights(0.1), {"embed": True, "dense": True, "norm": False}),
        optax.scale_by_learning_rate(1e-3),
    ),
    "a schedule beside the rate": oc.chain(
        clip(1.0), optax.scale_by_adam(), optax.scale_by_schedule(WARM_UP), oc.scale(-1e-3)
    ),
    "links of optax": oc.chain(
        optax.clip(1.0), optax.scale_by_adam(), optax.add_decayed_weights(0.01), optax.scale_by_learning_rate(1e-3)
    ),
    "a chain of optax with one of ours": optax.chain(clip(1.0), adam(), optax.scale(-1e-3)),
    "the size of muon": oc.chain(
        muon=oc.scale_by_muon(mask=KERNEL), adam=adam(mask=REST), size=oc.scale(0.2, mask=KERNEL), lr=lr(1e-3)
    ),
    "a loss that is scaled": oc.chain(unscaled=oc.scale(1 / 1024), clip=clip(1.0), adam=adam(), lr=lr(1e-3)),
    "a loss that is scaled, and momentum": oc.chain(
        unscaled=optax.scale(1 / 1024), momentum=oc.trace(0.9), lr=lr(0.01)
    ),
    "NaN is left out": oc.chain(finite=oc.mask_updates(finite), adam=adam(), decay=decay(0.01), lr=lr(1e-3)),
    "an average of the end": oc.chain(inner=oc.adam(1e-3), average=oc.average_params(0.9999, start=900)),
    "everything around": oc.guard(
        oc.accumulate(
            oc.chain(
                clip=clip(1.0),
                inner=oc.adamw(oc.warmup_cosine(1e-3, 20, 250), b2=0.99),
                average=oc.average_params(0.99),
            ),
            4,
        )
    ),
    "groups": oc.groups(
        oc.adamw(1e-3), {"embed/*": oc.sgd(0.1, momentum=0.9), "*/bias": {"weight_decay": 0.0}, "*": {}}
    ),
    "lookahead": oc.lookahead(oc.adamw(1e-3), 5, 0.5),
    "sam": oc.sam(oc.sgd(0.1, momentum=0.9)),
    "sparse": oc.sparse(oc.adamw(1e-3), 0.5),
    "graft": oc.chain(graft=oc.graft(oc.scale_by_adam(), oc.scale_by_shampoo(mask=KERNEL)), lr=lr(1e-3)),
    "prodigy": oc.chain(own=oc.scale_by_prodigy(), down=oc.scale(-1.0)),
    "noise": oc.chain(noise=oc.add_noise(0.01, 0.55, 0), adam=adam(), lr=lr(1e-3)),
    "L2 of momentum": oc.chain(decay=decay(1e-4), momentum=oc.trace(0.9), lr=lr(0.1)),
    "frozen by a mask": oc.chain(inner=oc.adam(1e-3), frozen=oc.scale(0.0, mask="embed/*")),
    "layers": oc.groups(oc.adamw(1e-3), oc.layerwise_decay(0.5, ["embed/*", "dense/*", "norm/*"])),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_right_is_left_alone(recipe):
    assert not linted(RECIPES[recipe], steps=1000)


@pytest.mark.parametrize("params", ["nearest", "stochastic", "kahan", "master", "split"])
def test_narrow_parameters_that_are_stored_well_are_left_alone(params):
    assert not linted(oc.precision(oc.adamw(1e-2 if params == "nearest" else 1e-6), params), HALF)


# What `matrices` presets take for hidden needs layers between the first one and the last.
DEEP = PARAMS | {
    "middle": {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.float32)},
    "zz_head": {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.float32)},
}


@pytest.mark.parametrize("name", one_of_each(PRESETS, lambda name: TECHNIQUES[name].__module__))
def test_presets_are_clean(name):
    assert not linted(build(name), DEEP, steps=2000)


def test_findings_are_worst_first_and_are_read_as_a_list():
    tx = oc.chain(lr=lr(1e-3, mask="*/kernel"), clip=clip(1.0), decay=decay(0.2))
    found = linted(tx)
    ranks = [("error", "warning", "note").index(x.severity) for x in found]
    assert found and ranks == sorted(ranks) and len(set(ranks)) > 1
    assert [line.split()[0] for line in str(found).splitlines() if line[0] != " "] == [x.severity for x in found]
    assert not linted(oc.adam(1e-3)) and str(linted(oc.adam(1e-3))) == "nothing found"


def test_long_lists_of_names_are_shortened():
    params = {f"w{i}": jax.ShapeDtypeStruct((3,), jnp.float32) for i in range(6)}
    (found,) = linted(oc.adam(1.0), params)
    assert found.where == tuple(params) and "at w0, w1, w2 and 3 more:" in str(found)


def test_arrays_are_as_good_as_shapes():
    arrays = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), PARAMS)
    tx = oc.chain(adam=adam(), lr=lr(1e-3), decay=decay(0.01))
    assert linted(tx, arrays) == linted(tx)
    small = jax.tree.map(lambda p: jnp.full(p.shape, 1e-9), PARAMS)
    assert not linted(oc.adam(1e-12), small) and linted(oc.adam(1e-12), arrays)[0].check == "step-too-small"


def test_what_does_not_move_may_stand_among_the_parameters():
    params = PARAMS | {
        "steps": jnp.zeros((), jnp.int32),
        "key": jax.random.key(0),
        "name": "model",
        "act": jax.nn.relu,
        "none": None,
    }
    assert not oc.lint(oc.adam(1e-3), params)
    assert oc.lint(oc.adam(-1e-3), params)[0].check == "uphill"


def test_variables_of_nnx_are_parameters():
    nnx = pytest.importorskip("flax.nnx")
    params = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    assert not linted(oc.adam(1e-3), params)
    (found,) = linted(oc.adamw(1e-3, weight_decay=0.1), params)
    assert (found.check, found.where) == ("decay-of-vectors", ("decay",)) and "bias" in found.says


def test_what_is_frozen_on_purpose_is_left_alone():
    assert not linted(oc.groups(oc.adam(1e-3), {"embed/*": oc.FROZEN, "*": {}}))
    assert not linted(oc.groups(oc.adam(1e-3), {"embed/*": {"learning_rate": 0.0}, "*": {}}))
    labels = {"embed": "still", "dense": "moves", "norm": "moves"}
    assert not linted(optax.partition({"still": optax.set_to_zero(), "moves": optax.adam(1e-3)}, labels))
    assert not linted(oc.groups(oc.adam(1e-3), {"embed/*": oc.sgd(0.1), "*": {}}))


def test_schedules_without_an_end_are_left_alone():
    for schedule in (oc.inverse_sqrt(1e-3, 100), oc.natural_exponential(1e-3, 0.01), oc.cosine_restarts(1e-3, 100)):
        assert not linted(oc.adam(schedule), steps=1000)


def test_rates_are_looked_at_where_they_are_largest():
    tx = oc.adam(oc.warmup_cosine(3.0, 100, 1000))
    assert [x.check for x in linted(tx, steps=1000)] == ["step-too-large"]


def test_wrappers_are_looked_through():
    inner = oc.chain(adam=adam(), lr=lr(1e-3), decay=decay(0.01))
    for tx in (
        oc.guard(oc.accumulate(inner, 4)),
        oc.lookahead(inner, 5, 0.5),
        oc.groups(inner, {"*": {}}),
        oc.sam(inner),
    ):
        assert ("growth", ("decay",)) in [(x.check, x.where) for x in linted(tx)]


def test_a_step_that_cannot_be_tried_is_a_note():
    def update(updates, state, params=None, *, temperature):
        return updates, state

    tx = optax.GradientTransformationExtraArgs(lambda params: (), update)
    (found,) = linted(tx)
    assert (found.check, found.severity) == ("not-tried", "note") and "temperature" in found.says
    assert [x.check for x in linted(tx, temperature=1.0)] == ["uphill"]


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="matches no parameter"):
        oc.lint(oc.adamw(1e-3, weight_decay=0.1, mask="*/nothing"), PARAMS)
    with pytest.raises(ValueError, match="steps must be a whole number"):
        oc.lint(oc.adam(1e-3), PARAMS, steps=0)


def averages(state):
    """The first parameter's average, as `average_params` keeps it."""
    (table,) = (table for _, name, table in owners(state) if name == "average_params")
    return jax.tree.leaves(table["average"])[0]


WRAPPED = {
    "lookahead": lambda tx: oc.lookahead(tx, 2, 0.5),
    "schedule_free": lambda tx: oc.schedule_free(tx, 0.1),
    "ema_nesterov": lambda tx: oc.ema_nesterov(tx, 0.9),
    "outer_nesterov": lambda tx: oc.outer_nesterov(tx, 2),
    "elastic_average": lambda tx: oc.elastic_average(tx, 2),
    "mechanize": oc.mechanize,
    "guard": oc.guard,
    "groups": lambda tx: oc.groups(tx, {"*": {}}),
    "delayed": lambda tx: oc.delayed(tx, 1),
    "sam": oc.sam,
    "gsam": oc.gsam,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_wrappers_that_change_the_step_are_those_that_spoil_an_average(name):
    tx = WRAPPED[name](oc.chain(inner=oc.sgd(0.1), average=oc.average_params(0.5)))
    params = {"w": jnp.linspace(-1.0, 1.0, 6)}
    state, expected = tx.init(params), params["w"]
    for step in range(5):
        grads = {"w": jnp.full(6, 0.1 + 0.05 * step)}
        params, state = oc.apply(tx, grads, state, params, value=1.0, value_fn=None, grad_fn=lambda p: p)
        expected = (expected + params["w"]) / 2
    is_spoiled = not np.allclose(averages(state), expected, atol=1e-6)
    assert is_spoiled == (name in CHANGES_THE_STEP)
    assert is_spoiled == ("average-within" in [x.check for x in linted(tx)])


POOL = (
    clip(1.0),
    oc.clip(0.1),
    oc.centralize(),
    oc.trace(0.9),
    adam(),
    adam(mask=KERNEL),
    oc.scale_by_sign(),
    decay(0.1),
    decay(0.01, mask=KERNEL),
    lr(1e-2),
    lr(oc.cosine(1e-2, 20), mask=REST),
    oc.scale(-0.5),
    oc.add_noise(0.1, 0.55, 0),
    oc.average_params(0.9),
    oc.mask_updates(UPPER),
    oc.lookahead(oc.sgd(0.1), 2, 0.5),
    oc.guard(oc.accumulate(oc.scale_by_rms(), 2)),
    oc.groups(oc.sgd(0.1), {"embed/*": oc.FROZEN, "*/bias": oc.adam(1e-2), "*": {}}),
    optax.scale_by_adam(),
    optax.adamw(1e-3),
    optax.scale_by_schedule(WARM_UP),
    optax.apply_if_finite(optax.trace(0.9), 2),
)


@pytest.mark.parametrize("seed", one_of_each(range(24), lambda seed: seed % 4))
def test_any_links_in_any_order(seed):
    """The same law, for chains that nobody would write."""
    drawn = np.random.default_rng(seed)
    links = [POOL[i] for i in drawn.permutation(len(POOL))[: drawn.integers(1, 7)]]
    tx = oc.chain(*links)
    found = linted(tx, steps=int(drawn.integers(1, 100)))
    assert "not-tried" not in [x.check for x in found]


CHAINED = [name for name in TECHNIQUES if name not in PRESETS]


@pytest.mark.parametrize("name", one_of_each(CHAINED, lambda name: type(build(name).link)))
def test_any_technique_may_be_a_link(name):
    """The law: `lint` raises for nothing that steps, and names what there is (as `linted` asserts)."""
    link = build(name)
    linted(link if link.link.children() else oc.chain(clip=clip(1.0), link=link, lr=lr(0.01)), DEEP, steps=50)
