"""The laws hold for every technique of ours, and each of them can be broken."""

import jax
import jax.numpy as jnp
import optax
import pytest
from techniques import PRESETS, TECHNIQUES, build, kind
from tiers import one_of_each

import optchain as oc
from optchain.inspect.laws import LAWS

# A preset is a chain of techniques that keep every law: these few show that they do so together.
TOGETHER = ["avals_mixed", "one_trace", "scan", "float16_zero_gradients", "checkpoint_npz"]


# The random numbers of the one are other ones for each leaf, and so for stacked layers; the other one multiplies the
# parameters by the size of the gradient at each step, by 1e45 in three.
EXCEPTIONS = {"add_noise": {"stacked_layers": "broken"}, "scale_by_param_block_rms": {"huge_gradients": "broken"}}


LINKS = [name for name in TECHNIQUES if name not in PRESETS]
# What needs no compiler: in `make test` all techniques keep these, and one of each kind keeps the others too.
TRACED = [
    "avals_float32",
    "avals_bfloat16",
    "avals_float16",
    "avals_mixed",
    "abstract_init",
    "one_trace",
    "cond",
    "masked",
]


@pytest.mark.parametrize("name", LINKS)
def test_every_technique_keeps_the_laws_of_types(name):
    oc.check_laws(build(name), only=TRACED).require()


@pytest.mark.parametrize("name", one_of_each(LINKS, kind))
def test_every_technique_keeps_every_law(name):
    report = oc.check_laws(build(name))
    broken = {finding.law: finding.outcome for finding in report.findings if finding.outcome != "holds"}
    assert broken == EXCEPTIONS.get(name, {}) and len(report.findings) == len(LAWS), str(report)


@pytest.mark.parametrize("name", one_of_each(PRESETS, lambda name: name in ("sgd", "adamw")))
def test_every_preset_keeps_the_laws(name):
    oc.check_laws(build(name), only=None if name in ("sgd", "adamw") else TOGETHER).require()


def made(update, init=lambda params: {"n": jnp.zeros(())}):
    return optax.GradientTransformationExtraArgs(init, update)


def plain(change):
    """A transformation whose state is what `change` makes of it, and whose update is the gradient."""
    return made(lambda u, s, p=None, **extra: (u, change(s)))


def grows(u, s, p=None, **extra):
    return u, {**s, "more": jnp.zeros(())} if len(s) < 4 else s


def refuses(u, s, p=None, value=None):
    return u, s


COUNT = [0]


def impure(u, s, p=None, **extra):
    COUNT[0] += 1
    return jax.tree.map(lambda g: g + COUNT[0], u), s


def half(params):
    return jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.bfloat16), params)


def needs_leaves(params):
    return {"first": jnp.zeros_like(jax.tree.leaves(params)[0])}


def reads_values(params):
    return {"n": jnp.zeros(()) + float(sum(jnp.sum(p) for p in jax.tree.leaves(params)))}


BREAKERS = {
    "avals_float32": made(grows),
    "avals_bfloat16": made(lambda u, s, p=None, **e: (u, jax.tree.map(lambda g: g.astype(jnp.float32), u)), half),
    "avals_float16": made(lambda u, s, p=None, **e: (u, u), half),
    "avals_mixed": optax.scale_by_adam(),
    "avals_float64": made(lambda u, s, p=None, **e: (u, jax.tree.map(lambda g: g * 1, u)), half),
    "abstract_init": made(lambda u, s, p=None, **e: (u, s), reads_values),
    "jit_is_eager": made(
        lambda u, s, p=None, **e: (jax.tree.map(lambda g: g * (1 if isinstance(g, jax.core.Tracer) else 2), u), s)
    ),
    "one_trace": plain(lambda s: {"n": jnp.zeros((int(s["n"].size) + 1,))}),
    "deterministic": made(
        lambda u, s, p=None, **e: (
            jax.tree.map(
                lambda g: g + jax.pure_callback(lambda: jnp.float32(impure({"g": 0}, s)[0]["g"]), jnp.zeros(())), u
            ),
            s,
        )
    ),
    "scan": plain(lambda s: {"n": s["n"].astype(jnp.float16)}),
    "cond": plain(lambda s: {"n": s["n"].astype(jnp.float16)}),
    "vmap": made(lambda u, s, p=None, **e: (jax.pure_callback(lambda x: x, u, u, vmap_method=None), s)),
    "extra_arguments": made(refuses),
    "masked": made(lambda u, s, p=None, **e: (u, {"n": u["kernel"] + 1}), lambda p: {"n": p["kernel"]}),
    "masked_out": made(lambda u, s, p=None, **e: (u, s), needs_leaves),
    "partition": made(lambda u, s, p=None, **e: (u, {"n": u["bias"] + u["kernel"][0]}), lambda p: {"n": p["bias"]}),
    "accumulation": made(
        lambda u, s, p=None, **e: (jax.tree.map(lambda g: g + e.get("step", jnp.asarray(-1)) * 1.0, u), s)
    ),
    "optax_wrappers": plain(lambda s: {"n": s["n"].astype(jnp.float16)}),
    "stacked_layers": optax.lamb(0.1),
    "nnx_optimizer": made(lambda u, s, p=None, **e: ({"kernel": u["kernel"]}, s)),
    "empty_tree": made(lambda u, s, p=None, **e: (u, s), needs_leaves),
    "none_leaf": made(lambda u, s, p=None, **e: (jax.tree.map(lambda g: g + 1, u, is_leaf=lambda x: x is None), s)),
    "zero_gradients": made(lambda u, s, p=None, **e: (jax.tree.map(lambda g: g / jnp.abs(g), u), s)),
    "tiny_gradients": made(lambda u, s, p=None, **e: (jax.tree.map(lambda g: g / (g * g), u), s)),
    "huge_gradients": made(lambda u, s, p=None, **e: (jax.tree.map(lambda g: jnp.exp(g), u), s)),
    "float16_zero_gradients": optax.scale_by_adam(),
    "checkpoint_npz": made(lambda u, s, p=None, **e: (u, s), lambda p: {"key": jax.random.key(0)}),
    "checkpoint_msgpack": made(lambda u, s, p=None, **e: (u, s), lambda p: {1: jnp.zeros(()), "1": jnp.ones(())}),
    "extra_arguments_forwarded": made(refuses),
    "guarded": made(lambda u, s, p=None, **e: (u, u), half),
    "checkpoint_orbax": made(lambda u, s, p=None, **e: (u, s), lambda p: {"name": "a word"}),
    "sharding": made(
        lambda u, s, p=None, **e: (u, jax.tree.map(jnp.ones_like, u)),
        lambda p: jax.tree.map(lambda x: jnp.zeros(x.shape), p),
    ),
}


def test_there_is_one_that_breaks_each_law():
    assert set(BREAKERS) == set(LAWS)


@pytest.mark.parametrize("name", BREAKERS)
def test_a_broken_law_is_found(name):
    report = oc.check_laws(BREAKERS[name], only=[name])
    (finding,) = report.findings
    assert finding.outcome == "broken" and finding.reason
    with pytest.raises(AssertionError, match=name):
        report.require()
    assert name in str(report) and "1 broken" in str(report)


def test_the_defects_of_optax_are_found():
    broken = {finding.law for finding in oc.check_laws(optax.adamw(1e-3)).broken}
    assert broken == {"avals_mixed", "float16_zero_gradients"}


def test_your_own_parameters_and_laws():
    report = oc.check_laws(oc.adamw(1e-3, mask="w"), {"w": jnp.ones((2, 2)), "v": jnp.ones(2)}, only=["scan"])
    report.require()
    with pytest.raises(ValueError, match="there is no law 'scna'; valid: "):
        oc.check_laws(optax.sgd(0.1), only=["scna"])
