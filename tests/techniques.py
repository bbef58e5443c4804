"""What the conformance suite runs: every exported technique, found by its export."""

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.inspect.laws.steps import told

TECHNIQUES = {name: make for name, make in vars(oc).items() if hasattr(make, "example")}
PRESETS = [name for name, make in TECHNIQUES.items() if make.__module__.startswith("optchain.presets")]
RULES = {name: make for name, make in TECHNIQUES.items() if hasattr(make, "rule")}


def build(name: str, **changes):
    """A technique with the arguments of its example."""
    return TECHNIQUES[name](**{**TECHNIQUES[name].example, **changes})


def updated(tx, *args):
    """What the update gives, told all that a link may ask for."""
    return tx.update(*args, **told())


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
