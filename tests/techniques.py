"""What the conformance suite runs: every exported technique, found by its export."""

import functools

import jax
import jax.extend
import jax.numpy as jnp

import optchain as oc
from optchain.core.numbers import means
from optchain.core.registry import TECHNIQUE, registered
from optchain.core.rule import core_of
from optchain.inspect.laws.steps import every_extra

# Those that are exported: a test's own techniques are registered too.
REGISTERED = {name: entry for name, entry in registered().items() if vars(oc).get(name) is entry.make}
TECHNIQUES = {name: entry.make for name, entry in REGISTERED.items() if entry.kind == TECHNIQUE}
PRESETS = [name for name, make in TECHNIQUES.items() if make.__module__.startswith("optchain.presets")]
RULES = {name: REGISTERED[name].rule for name in TECHNIQUES if REGISTERED[name].rule is not None}


def build(name: str, **changes):
    """A technique with the arguments of its example."""
    return TECHNIQUES[name](**{**REGISTERED[name].example, **changes})


def updated(tx, *args, **extra):
    """What the update gives with all extra arguments that a link may read."""
    return tx.update(*args, **every_extra(), **extra)


def chained(name: str):
    """A technique as the middle link of a chain."""
    return oc.chain(clip=oc.clip_by_global_norm(1.0), link=build(name), lr=oc.scale_by_learning_rate(0.1))


def tree(seed: int, dtype=jnp.float32):
    """A small tree: a matrix, a vector, a scalar and a leaf deeper down."""
    shapes = {"kernel": (4, 3), "bias": (3,), "scale": (), "deep": {"embedding": (5, 2)}}
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    values = [jax.random.normal(key, shape).astype(dtype) for key, shape in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, values)


def own(state):
    """What a technique that stands alone keeps; the state itself where it is another."""
    alone = isinstance(state, dict) and len(state) == 1 and "count" in next(iter(state.values()))
    return next(iter(state.values())) if alone else state


def definition(name: str) -> type:
    """The class of the definition behind a technique: one of each is enough for what only depends on that."""
    return type(build(name).link)


CONTROL_FLOW = frozenset({"cond", "scan", "while", "eigh", "svd", "householder_product", "sort", "random_bits"})


@functools.cache
def kind(name: str) -> tuple:
    """What tells techniques apart for what runs them: definition, core axes, means, extra arguments, control flow."""
    link, params = build(name).link, {"w": jax.ShapeDtypeStruct((4, 4), jnp.float32)}
    rule, state = getattr(link, "rule", None), jax.eval_shape(build(name).init, params)
    declared = (core_of(rule, 2), bool(rule.extras), bool(means(type(rule)))) if rule else ()
    step = functools.partial(updated, build(name))
    jaxpr = jax.make_jaxpr(step)(params, state, params)
    return type(link), declared, bool(CONTROL_FLOW & primitives(jaxpr.jaxpr))


def primitives(jaxpr) -> frozenset[str]:
    """The names of all primitives in a jaxpr, those of inner ones too."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    inner = [x for eqn in jaxpr.eqns for x in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr)]
    return frozenset(names.union(*(primitives(getattr(x, "jaxpr", x)) for x in inner if is_jaxpr(x))))


def is_jaxpr(x) -> bool:
    return isinstance(x, (jax.extend.core.Jaxpr, jax.extend.core.ClosedJaxpr))
