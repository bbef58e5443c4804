"""Arrays of which each device has a part, inside `shard_map`: what is computed of them is computed of the whole.

`oc.over_axes` says while it traces a step which mesh axes split the leaves (`Spread`), and the runner, while it traces
the law of one leaf, which axes of that leaf (`Split`). Both are read when a law is traced, and are a part of nothing
that JAX keeps. `whole.py` has the reductions.
"""

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import get_abstract_mesh

from optchain.core.gather import names_of as names_of_entry
from optchain.core.paths import matches

try:
    from jax.lax import pcast

    as_varying = functools.partial(pcast, to="varying")
except ImportError:  # JAX 0.7
    from jax.lax import pvary as as_varying  # pyright: ignore

_SAYS_SAME = "to" in inspect.signature(lax.all_gather).parameters  # of what is gathered, that all devices have the same

# For each axis of an array, counted from the last one as -1 so that layers in front do not matter, the mesh axes that
# split it; an axis that is whole is left out.
Split = Mapping[int, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mesh axes that split the leaves, and a table from patterns on paths to the layouts of leaves."""

    axes: tuple[str, ...]
    specs: Mapping[str, Any]

    def split(self, path: str, x: Any, *others: Any) -> Split:
        """Which axes of a leaf are split: as the table says, or the first one where it varies from device to device.

        Args:
            path: the leaf's name.
            x: the leaf, as one device has it.
            others: arrays of the same layout, such as the parameter.
        """
        found = [name for name in self.axes if any(name in varying(y) for y in (x, *others) if y is not None)]
        spec = next((spec for pattern, spec in self.specs.items() if matches(path, pattern)), None)
        if spec is None:
            if found and not x.ndim:
                raise ValueError(f"over_axes: the scalar {path!r} varies over {_listed(found)}; average it first")
            return {-x.ndim: tuple(found)} if found else {}
        entries = [tuple(name for name in names_of_entry(entry) if name in self.axes) for entry in spec]
        missing = [name for name in found if not any(name in names for names in entries)]
        if len(entries) > x.ndim or missing:
            problem = f"leaf {path!r} has shape {x.shape}"
            problem += f" and varies over {_listed(missing)}" if missing else ""
            raise ValueError(f"over_axes: {problem}, and specs say {spec}; give the spec that shard_map has for it")
        return {i - x.ndim: names for i, names in enumerate(entries) if names}


SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)
_COPIES: ContextVar[frozenset[str]] = ContextVar("copies", default=frozenset())
_SPLIT: ContextVar[Split | None] = ContextVar("split", default=None)


def spread() -> Spread | None:
    """What `over_axes` says of the step that is traced; None outside of it."""
    return SPREAD.get()


def leaf_split() -> Split | None:
    """Which axes of the leaf are split whose law is traced; None outside of one."""
    return _SPLIT.get()


@contextlib.contextmanager
def spreading(value: Spread | None) -> Iterator[None]:
    """While a step is traced: what `over_axes` says of it."""
    token = SPREAD.set(value)
    try:
        yield
    finally:
        SPREAD.reset(token)


@contextlib.contextmanager
def copying(axes: Iterable[str]) -> Iterator[None]:
    """While a step is traced: mesh axes along which each device has whole arrays of its own."""
    token = _COPIES.set(_COPIES.get() | {*axes})
    try:
        yield
    finally:
        _COPIES.reset(token)


def copies() -> frozenset[str]:
    """The mesh axes along which each device has whole arrays of its own."""
    return _COPIES.get()


def bound(axes: Iterable[str]) -> bool:
    """Whether these axes are those of a mapped function that is traced, `shard_map` or `vmap` with a name."""
    try:
        return all(lax.axis_index(name) is not None for name in axes)
    except NameError:
        return False


@contextlib.contextmanager
def splitting(split: Split) -> Iterator[None]:
    """While the law of one leaf is traced: which of its axes are split."""
    token = _SPLIT.set(split)
    try:
        yield
    finally:
        _SPLIT.reset(token)


def varying(x: Any) -> frozenset[Any]:
    """The mesh axes over which an array inside `shard_map` is another on each device."""
    return varying_of(jax.typeof(x))


def varying_of(aval: Any) -> frozenset[Any]:
    """The mesh axes over which an array of this type is another on each device."""
    manual = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if manual is None else manual.varying  # as older versions of JAX call it


def across(x: Any, axes: int | tuple[int, ...] | None = None) -> tuple[str, ...]:
    """The mesh axes that split an array along some of its axes, None for all.

    Within the law of a leaf the array has the leaf's axes, layers aside. In a rule of the whole tree, where nothing
    else is known, it is what the array varies over.
    """
    here = SPREAD.get()
    if here is None:
        return ()
    split = _SPLIT.get()
    if split is None:
        names = tuple(name for name in here.axes if name in varying(x))
        if names and axes is not None:
            raise ValueError("over_axes: a rule of the whole tree can reduce an array along all of its axes alone")
        return names
    axes = tuple(range(x.ndim)) if axes is None else (axes,) if isinstance(axes, int) else axes
    along = {axis - x.ndim if axis >= 0 else axis for axis in axes}
    names = {name for axis, names in split.items() if axis in along for name in names}
    return tuple(name for name in here.axes if name in names)


def parts(names: tuple[str, ...]) -> int:
    """The number of devices along some mesh axes."""
    return math.prod(get_abstract_mesh().shape[name] for name in names) if names else 1


def place(n: int, names: tuple[str, ...]) -> Any:
    """Where the part that this device has begins, along an axis of which it has n entries."""
    return lax.axis_index(names) * n


def gather(x: jax.Array, split: Split) -> jax.Array:
    """The whole array on each device, from the parts."""
    for axis, names in split.items():
        x = gathered_over(x, axis + x.ndim, names)
    return x


def gathered_over(x: jax.Array, axis: int, names: tuple[str, ...]) -> jax.Array:
    """The arrays of all devices side by side along one axis, which JAX knows to be the same on all of them."""
    if _SAYS_SAME:
        return lax.all_gather(marked(x, {-1: names}), names, axis=axis, tiled=True, to="invarying")
    # By a sum, which JAX knows to be the same on all devices; it receives twice as much.
    whole = jnp.zeros([n * parts(names) if i == axis else n for i, n in enumerate(x.shape)], x.dtype)
    return lax.psum(lax.dynamic_update_slice_in_dim(whole, x, place(x.shape[axis], names), axis), names)


def own_part(x: jax.Array, split: Split) -> jax.Array:
    """The part of a whole array that this device has."""
    for axis, names in split.items():
        axis += x.ndim
        n = x.shape[axis] // parts(names)
        x = lax.dynamic_slice_in_dim(x, place(n, names), n, axis)
    return x


def marked(x: jax.Array, split: Split) -> jax.Array:
    """The same array, which JAX takes to vary over the mesh axes that split it."""
    here, mapped = varying(x), get_abstract_mesh().manual_axes
    new = tuple(name for names in split.values() for name in names if name in mapped and name not in here)
    return as_varying(x, new) if new else x


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
