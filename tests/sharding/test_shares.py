"""Every technique's state on a mesh: each device holds its share of the bytes, and a step leaves it where it is."""

import itertools
import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType
from techniques import REGISTERED, TECHNIQUES, build, kind
from tiers import one_of_each

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.inspect.laws.steps import every_extra

DEVICES = 8
SHAPES = {"bias": (128,), "conv": (3, 3, 16, 32), "embedding": (256, 64), "kernel": (64, 128)}
SPECS = {
    "rows": {"bias": ("x",), "conv": (None, None, "x"), "embedding": ("x",), "kernel": ("x",)},
    "columns": {"bias": ("x",), "conv": (None, None, None, "x"), "embedding": (None, "x"), "kernel": (None, "x")},
    "both": {"bias": (("x", "y"),), "conv": (None, None, "x", "y"), "embedding": ("y", "x"), "kernel": ("x", "y")},
}
SPECS["copies"] = dict.fromkeys(SHAPES, ())
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
# A stack has a place for each owner: matrices of which there are fewer than owners take more than their share.
ONE_OF_A_SHAPE = {"distributed"}
# Buffers are split over the axis that `packed` is given: tests/packing/test_packed.py.
NAMES = [name for name in TECHNIQUES if name not in {*ONE_OF_A_SHAPE, "packed"}]


def on_mesh(specs, axes):
    """Parameters as shapes, over one axis of 8 devices, or over both of 2 x 4."""
    sizes = {"x": 2, "y": 4} if specs == "both" else {"x": DEVICES}
    mesh = jax.make_mesh(tuple(sizes.values()), tuple(sizes), (axes,) * len(sizes))
    layouts = {name: jax.NamedSharding(mesh, jax.P(*spec)) for name, spec in SPECS[specs].items()}
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=layouts[name]) for name, shape in SHAPES.items()}


def of_all(name):
    """A technique on all of the tree, but for the vector where it is one of matrices."""
    masked = {"mask": lambda path, p: path != "bias"} if "mask" in REGISTERED[name].example else {}
    return oc.as_matrices(build(name, **masked), {"conv": "h w i o -> (h w i) o"})


def require_shares(state, layouts):
    """A device holds at most 1.2 / N of the bytes, without the arrays that are smaller than its parameters."""
    least = sum(4 * math.prod(shape) for shape in SHAPES.values()) // DEVICES
    large = [(path, x) for path, x in named_leaves(state) if x.size * x.dtype.itemsize >= least]
    layouts = dict(named_leaves(layouts))
    parts = {path: math.prod(layouts[path].shard_shape(x.shape)) / x.size for path, x in large}
    held = sum(parts[path] * x.size * x.dtype.itemsize for path, x in large)
    whole = {path: f"{x.shape} {layouts[path].spec}" for path, x in large if parts[path] > 1.2 / DEVICES}
    assert held <= 1.2 / DEVICES * sum(x.size * x.dtype.itemsize for _, x in large), whole


@pytest.mark.parametrize("name", one_of_each(NAMES, kind))
def test_a_device_holds_its_share_of_every_technique(name):
    tx = of_all(name)
    for specs, axes in itertools.product(("rows", "columns", "both"), KINDS.values()):
        params = on_mesh(specs, axes)
        require_shares(jax.eval_shape(tx.init, params), oc.shardings(tx, params))
    for axes in KINDS.values():
        copies = on_mesh("copies", axes)
        require_shares(jax.eval_shape(tx.init, copies), oc.shardings(tx, copies, over="x"))


@pytest.mark.parametrize("name", one_of_each(NAMES, kind))
def test_a_step_leaves_the_state_where_it_is(name):
    """Where axes are explicit, tracing knows."""
    tx, params = of_all(name), on_mesh("both", AxisType.Explicit)

    def laid_out(x, layout):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout)

    state = jax.tree.map(laid_out, jax.eval_shape(tx.init, params), oc.shardings(tx, params))
    step = jax.jit(lambda params, state: oc.apply(tx, params, state, params, **every_extra()))
    after = step.trace(params, state).jaxpr.out_avals
    for (path, x), new in zip(named_leaves((params, state)), after, strict=True):
        assert x.sharding.is_equivalent_to(jax.NamedSharding(x.sharding.mesh, new.sharding.spec), x.ndim), path


def test_a_state_that_is_whole_on_each_device_is_found():
    tx, params = of_all("scale_by_shampoo"), on_mesh("rows", AxisType.Auto)
    whole = jax.tree.map(lambda layout: layout.update(spec=jax.P()), oc.shardings(tx, params))
    with pytest.raises(AssertionError, match="left/conv"):
        require_shares(jax.eval_shape(tx.init, params), whole)
