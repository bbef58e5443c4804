"""The laws hold for every technique of ours, and each of them can be broken."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from techniques import PRESETS, TECHNIQUES, build, definition
from tiers import one_of_each

import optchain as oc
from optchain.core.holes import is_hole
from optchain.core.numbers import Mean
from optchain.core.rule import rule
from optchain.inspect.laws import EXCEPTIONS, LAWS
from optchain.inspect.laws.check import exemption

# A preset is a chain of techniques that keep every law: these few show that they do so together.
TOGETHER = ["avals_mixed", "one_trace", "scan", "float16_zero_gradients", "checkpoint_npz"]


LINKS = [name for name in TECHNIQUES if name not in PRESETS]
# What needs no compiler: in `make test` all techniques keep these, and one of each definition keeps the others too.
TRACED = [
    "avals_float32",
    "avals_bfloat16",
    "avals_float16",
    "avals_mixed",
    "abstract_init",
    "one_trace",
    "cond",
    "masked",
    "integers_with_gradients",
    "frozen_leaves",
    "own_buffers",
    "size_of_state",
    "forgotten_extra_arguments",
    "explicit_mesh",
]
MOST_EXEMPT = 0.01  # of all techniques under all laws


@pytest.mark.parametrize("name", LINKS)
def test_every_technique_keeps_the_laws_of_types(name):
    oc.check_laws(build(name), only=TRACED).require()


@pytest.mark.parametrize("name", one_of_each(LINKS, definition))
def test_every_technique_keeps_every_law(name):
    report = oc.check_laws(build(name))
    assert not report.broken and len(report.findings) == len(LAWS), str(report)


@pytest.mark.parametrize("name", one_of_each(PRESETS, lambda name: name in ("sgd", "adamw")))
def test_every_preset_keeps_the_laws(name):
    oc.check_laws(build(name), only=None if name in ("sgd", "adamw") else TOGETHER).require()


EXEMPT = [(law, name) for law, table in EXCEPTIONS.items() for name in table]


@pytest.mark.parametrize(("law", "name"), one_of_each(EXEMPT, lambda pair: pair[0]))
def test_no_exception_is_out_of_date(law, name):
    (finding,) = oc.check_laws(build(name), only=[law]).findings
    assert finding.outcome == "exempt" and finding.reason == f"{name}: {EXCEPTIONS[law][name]}"


def test_exceptions_are_few():
    cells = [exemption(law, build(name)) for law in LAWS for name in TECHNIQUES]
    assert sum(reason is not None for reason in cells) <= MOST_EXEMPT * len(cells)


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


@rule
class Centered:
    """It says that it is right on shards, and takes the mean of the shard."""

    core_ndim = None
    on_shards = True

    def update(self, g, s, p, t):
        return g - jnp.mean(g), s


@rule
class Leveled:
    """It says that it is elementwise, and takes the mean of the leaf."""

    def update(self, g, s, p, t):
        return g - jnp.mean(g), s


def half(params):
    return jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.bfloat16), params)


def needs_leaves(params):
    return {"first": jnp.zeros_like(jax.tree.leaves(params)[0])}


def reads_values(params):
    return {"n": jnp.zeros(()) + float(sum(jnp.sum(p) for p in jax.tree.leaves(params)))}


def mapped(change):
    """A transformation that keeps nothing, and changes each array of the update."""
    return made(lambda u, s, p=None, **extra: (jax.tree.map(change, u), s))


def remembers(init):
    """A transformation whose update is the gradient, and whose state is what `init` makes of the parameters."""
    return made(lambda u, s, p=None, **extra: (u, s), init)


def unit_norm(u, s, p=None, **extra):
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(u)))
    return jax.tree.map(lambda g: g / jnp.where(norm == 0, 1, norm), u), s


def filled(u, s, p=None, **extra):
    nothing = {"is_leaf": lambda x: x is None}
    return jax.tree.map(lambda g, x: jnp.zeros_like(x) if g is None else g, u, p, **nothing), s


def reads_the_loss(u, s, p=None, value=None, **extra):
    return (u if value is None else jax.tree.map(lambda g: g * value, u)), s


def draws_once(u, s, p=None, **extra):
    drawn = float(jax.random.normal(s["key"]))
    return jax.tree.map(lambda g: g + drawn, u), s


def shared(params):
    zeros = jnp.zeros(3)
    return {"mu": zeros, "nu": zeros}


@rule
class OneDecay:
    """A mean that is divided by what it would have seen if its decay had always been that of today."""

    b1: Mean = 0.9

    def init(self, p):
        return OneMean(jnp.zeros_like(p))

    def update(self, g, s, p, t, seen):
        mu = self.b1 * s.mu + (1 - self.b1) * g
        return mu / (1 - self.b1**t), OneMean(mu)


class OneMean(NamedTuple):
    mu: jax.Array


BREAKERS = {
    "foreign_leaves": remembers(lambda p: [jnp.zeros(()) for _ in jax.tree.leaves(p)]),
    "gradients_of_none": made(filled),
    "gradients_of_float0": mapped(lambda g: jnp.zeros(g.shape) if g.dtype == jax.dtypes.float0 else g),
    "integers_with_gradients": optax.sgd(0.1),
    "empty_arrays": mapped(lambda g: g / jnp.max(g)),
    "frozen_leaves": remembers(lambda p: [jnp.zeros(()) for _ in jax.tree.leaves(p, is_leaf=is_hole)]),
    "one_gradient_of_1e37": mapped(lambda g: g * g),
    "one_gradient_of_3e38": mapped(lambda g: 2 * g),
    "tiny_norms": made(unit_norm),
    "constant_gradients": oc.lift(OneDecay, "one_decay")(),
    "derivatives": mapped(lambda g: jnp.sqrt(g * g)),
    "own_buffers": remembers(shared),
    "size_of_state": remembers(lambda p: jax.tree.map(lambda x: jnp.zeros(x.shape[:1] * 2), p)),
    "forgotten_extra_arguments": made(reads_the_loss),
    "auto_mesh": made(
        lambda u, s, p=None, **e: (jax.tree.map(lambda g: g * s["devices"], u), s),
        lambda p: {"devices": jnp.asarray(len(p["kernel"].devices()))},
    ),
    "shard_map": mapped(lambda g: g - jnp.mean(g)),
    "over_axes": oc.lift(Centered, "centered")(),
    "boxes": made(lambda u, s, p=None, **e: ({name: jax.tree.leaves(x)[0] for name, x in u.items()}, s)),
    "keys_of_members": made(draws_once, lambda p: {"key": jax.random.key(0)}),
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
        lambda u, s, p=None, **e: (u if e.get("grad_fn") is None else jax.tree.map(jnp.negative, u), s)
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
    "packed_leaves": oc.lift(Leveled, "leveled")(),
    "checkpoint_orbax": made(lambda u, s, p=None, **e: (u, s), lambda p: {"name": "a word"}),
    "explicit_mesh": made(
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
    leaves = {"foreign_leaves", "gradients_of_none", "gradients_of_float0", "integers_with_gradients"}
    numbers = {"avals_mixed", "float16_zero_gradients", "one_gradient_of_1e37", "one_gradient_of_3e38", "derivatives"}
    assert broken == leaves | numbers


def test_a_derivative_that_is_wrong_is_found():
    tx = mapped(lambda g: g + jax.lax.stop_gradient(g))
    (finding,) = oc.check_laws(tx, only=["derivatives"]).findings
    assert finding.outcome == "broken" and "finite differences give" in finding.reason


def test_your_own_parameters_and_laws():
    report = oc.check_laws(oc.adamw(1e-3, mask="w"), {"w": jnp.ones((2, 2)), "v": jnp.ones(2)}, only=["scan"])
    report.require()
    with pytest.raises(ValueError, match="there is no law 'scna'; valid: "):
        oc.check_laws(optax.sgd(0.1), only=["scna"])
