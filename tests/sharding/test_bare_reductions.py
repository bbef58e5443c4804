"""Under `over_axes` nothing that a law makes depends on a reduction over a part of an axis: collectives complete it.

It is read off the traced step, for any numbers. What a collective receives counts as completed by it.
"""

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import Literal
from jax.sharding import AxisType, PartitionSpec
from techniques import TECHNIQUES, build, kind
from tiers import one_of_each

import optchain as oc
from optchain.core.rule import rule
from optchain.core.spread import varying_of
from optchain.inspect.laws.steps import every_extra

PART = 7  # entries of the split axis on a device: no other length, nor a product of other lengths, is a multiple
SHAPES = {"kernel": (2 * PART, 4), "bias": (2 * PART,)}
P = PartitionSpec
COLLECTIVE = ("psum", "pmax", "pmin", "all_gather", "all_to_all", "ppermute", "reduce_scatter")


def bare(jaxpr, tainted=frozenset()):
    """The outputs, by number, that depend on a reduction over a part of an axis; and the names of these reductions.

    Args:
        jaxpr: of a step inside `shard_map`, where JAX says what varies from device to device.
        tainted: the inputs, by number, that do.
    """
    of = {jaxpr.invars[i]: {"an argument"} for i in tainted}

    def found(x):
        return set() if isinstance(x, Literal) else of.get(x, set())

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, equation.invars
        if name.startswith(COLLECTIVE):
            continue
        reasons = set().union(*map(found, inputs))
        inner = [x for x in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr) if _is_jaxpr(x)]
        if inner and not name.startswith("reduce"):
            reasons |= {reason for part in inner for reason in _inside(part, inputs, found)}
        elif any(_over_a_part(name, equation.params, x.aval, i) for i, x in enumerate(inputs)):
            reasons = reasons | {name}
        if reasons:
            of.update(dict.fromkeys(equation.outvars, reasons))
    return {i: found(x) for i, x in enumerate(jaxpr.outvars) if found(x)}


def _is_jaxpr(x):
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


def _inside(part, inputs, found):
    """What the outputs of a part of a program depend on; its inputs are the last of those that it is given."""
    jaxpr = getattr(part, "jaxpr", part)
    last = inputs[len(inputs) - len(jaxpr.invars) :] if len(inputs) >= len(jaxpr.invars) else inputs
    tainted = {i for i, x in enumerate(last) if found(x)}
    outside = set().union(*(found(x) for x in last))
    for _ in range(3):  # what a loop makes enters it again
        results = bare(jaxpr, tainted)
        carried = len(jaxpr.invars) - len(jaxpr.outvars)
        tainted |= {i + max(carried, 0) for i in results if i + max(carried, 0) < len(jaxpr.invars)}
    return {r for reasons in results.values() for r in reasons if r != "an argument"} | (outside if results else set())


def _over_a_part(name, params, aval, number):
    """Whether this reduces its n-th input over an axis of which a device has a part."""
    if "x" not in varying_of(aval):
        return False
    if name == "dot_general":
        axes = params["dimension_numbers"][0][number]
    elif name == "sort":
        axes = (params["dimension"],)
    elif name == "top_k":
        axes = (len(aval.shape) - 1,)
    elif name.startswith("cum"):
        axes = (params["axis"],)
    else:
        axes = params["axes"] if name.startswith(("reduce_", "arg")) and "axes" in params else ()
    return any(aval.shape[axis] % PART == 0 and aval.shape[axis] for axis in axes)


def step_of(tx):
    """One step on shards, as it is traced."""
    wrapped = oc.over_axes(tx, "x")

    def step(params, grads):
        return oc.apply(wrapped, grads, wrapped.init(params), params, **every_extra())[0]

    mesh = jax.make_mesh((2,), ("x",), (AxisType.Auto,), devices=jax.devices()[:2])
    shapes = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}
    mapped = jax.shard_map(step, mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    (equation,) = [e for e in jax.make_jaxpr(mapped)(shapes, shapes).eqns if e.primitive.name == "shard_map"]
    return equation.params["jaxpr"]


@pytest.mark.parametrize("name", one_of_each([n for n in TECHNIQUES if n != "distributed"], kind))
def test_no_technique_reduces_a_part_of_an_axis_alone(name):
    try:
        jaxpr = step_of(build(name))
    except ValueError as error:
        assert "over_axes" in str(error)  # refused
        return
    assert bare(jaxpr) == {}


@rule
class Local:
    """Says that it runs on shards, and takes the norm of one."""

    core_ndim = None
    on_shards = True

    def update(self, g, s, p, t):
        return g / jnp.sqrt(jnp.sum(g * g)), s


def test_a_bare_reduction_is_found():
    found = bare(step_of(oc.chain(oc.lift(Local, "by_the_norm_of_a_shard")(), oc.guard(oc.sgd(0.1)))))
    assert found == {0: {"reduce_sum"}, 1: {"reduce_sum"}}
    assert bare(step_of(oc.chain(oc.scale_by_trust_ratio(), oc.clip_by_global_norm(1.0)))) == {}


@pytest.mark.parametrize("loop", ["scan", "cond", "jit"])
def test_it_is_found_within_loops_and_branches(loop):
    inside = {
        "scan": lambda x: jax.lax.scan(lambda c, _: (c / jnp.sum(x), None), x, None, length=2)[0],
        "cond": lambda x: jax.lax.cond(True, lambda x: x / jnp.max(x), lambda x: x, x),
        "jit": jax.jit(lambda x: x - jnp.sort(x)),
    }
    mesh = jax.make_mesh((2,), ("x",), (AxisType.Auto,), devices=jax.devices()[:2])
    mapped = jax.shard_map(inside[loop], mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    (equation,) = jax.make_jaxpr(mapped)(jnp.ones(2 * PART)).eqns
    assert bare(equation.params["jaxpr"])[0]
