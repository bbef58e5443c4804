"""Which axes of its parameter each slot follows: what a rule declares of one array, through layers and views."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.gather import laid_out, names_of
from optchain.core.parts import Parts
from optchain.core.views import View

# For each axis of a slot the axis of its parameter that it follows, None for no axis, or the names of mesh axes for one
# that has an entry for each device along them.
Axes = tuple[int | tuple[str, ...] | None, ...]


def slot_axes(owner: str, rule: Any, form: Form, p: Any) -> dict[str, Axes]:
    """The axes of one parameter that each of its slots follows; a slot that it does not have is left out.

    Raises:
        ValueError: the rule declares axes that do not fit its slots.
    """
    shape, depth = p.shape[form.depth :], form.depth
    if isinstance(form.view, Parts):
        return _axes_of_parts(owner, rule, form, form.view, len(shape))
    shown = shape if form.view is None else form.view.shown
    # Where each axis that is shown stands in the parameter without its layers.
    places = list(range(len(shape))) if form.view is None else _places(form.view)
    outer, seen = places[: form.shown_depth], jax.ShapeDtypeStruct(shown[form.shown_depth :], jnp.float32)
    followed = {}
    for slot, (dims, axes) in _declared(owner, rule, seen).items():
        through = (*outer, *(places[form.shown_depth + i] if isinstance(i, int) else i for i in axes))
        if form.view is not None and (*shown[: form.shown_depth], *dims) == shown:  # the slot has the parameter's shape
            if axes == tuple(range(seen.ndim)):
                through = tuple(range(len(shape)))
            else:
                through = tuple(through[places.index(i)] if i in places else None for i in range(len(shape)))
        followed[slot] = (*range(depth), *(depth + i if isinstance(i, int) else i for i in through))
    return followed


def _axes_of_parts(owner: str, rule: Any, form: Form, parts: Parts, ndim: int) -> dict[str, Axes]:
    """The axes of a leaf in parts: all of them for what follows each part entry by entry; a vector follows none."""
    seen = [jax.ShapeDtypeStruct(shown[form.shown_depth :], jnp.float32) for shown in parts.view.shown]
    tables, followed = [_declared(owner, rule, part) for part in seen], {}
    for slot in dict.fromkeys(name for table in tables for name in table):
        rows = [table.get(slot, (None, None)) for table in tables]
        is_like = all(shape == part.shape for (shape, _), part in zip(rows, seen, strict=True))
        is_same = is_like and all(axes == tuple(range(part.ndim)) for (_, axes), part in zip(rows, seen, strict=True))
        axes = tuple(range(ndim)) if is_same else (None,) * (ndim if is_like else 1)
        followed[slot] = (*range(form.depth), *(None if i is None else form.depth + i for i in axes))
    return followed


def axes_by_shape(shape: tuple[int, ...], whole: tuple[int, ...]) -> Axes:
    """The axes that a slot follows where nothing is declared: all of the parameter's, or its first ones, or none."""
    return tuple(range(len(shape))) if shape == whole[: len(shape)] else (None,) * len(shape)


def following(slots: Any, axes: dict[str, Axes], p: jax.Array) -> Any:
    """The slots of a parameter, each laid out by the axes that it follows, on a mesh with explicit axes."""
    if not slots:
        return slots
    spec, arrays = jax.typeof(p).sharding.spec, slots._asdict()
    sizes = jax.typeof(p).sharding.mesh.shape
    names = {slot: _known(along(spec, axes[slot], arrays[slot].shape, p.shape), sizes) for slot in axes}
    return slots._replace(**{slot: laid_out(arrays[slot], p, map(entry, names[slot])) for slot in axes})


def along(entries: Any, axes: Axes, shape: tuple[int, ...], whole: tuple[int, ...]) -> list[tuple[str, ...]]:
    """The names of the axes that a slot follows, from those of its parameter; each name once.

    An axis that follows no axis, but is as long as the one that stands in its place, has that one's names if no other
    axis has them.

    Args:
        entries: a name, several or None for each axis of the parameter.
        axes: those that the slot follows, or names of mesh axes.
        shape: of the slot.
        whole: the shape of the parameter.
    """
    left = [*map(names_of, entries), *[()] * (len(whole) - len(entries))]
    layout: list[tuple[str, ...]] = []
    for i in axes:
        layout.append(left[i] if isinstance(i, int) else i or ())
        left = [tuple(name for name in names if name not in layout[-1]) for names in left]
    in_place = [i is None and len(shape) == len(whole) and shape[j] == whole[j] for j, i in enumerate(axes)]
    return [left[j] if in_place[j] else names for j, names in enumerate(layout)]


def even(layout: list[tuple[str, ...]], shape: tuple[int, ...], sizes: Any) -> list[tuple[str, ...]]:
    """The names of the axes of an array without those that would split an axis unevenly, such as one of few blocks."""
    return [
        names if n % math.prod(sizes[name] for name in names) == 0 else ()
        for names, n in zip(_known(layout, sizes), shape, strict=True)
    ]


def _known(layout: list[tuple[str, ...]], sizes: Any) -> list[tuple[str, ...]]:
    """The names of the axes of an array without those that its mesh does not have."""
    return [tuple(name for name in names if name in sizes) for names in layout]


def entry(names: tuple[str, ...]) -> Any:
    """The names of one axis as they stand in a `PartitionSpec`."""
    return names if len(names) > 1 else names[0] if names else None


def _declared(owner: str, rule: Any, p: Any) -> dict[str, tuple[tuple[int, ...], Axes]]:
    """The shape of each slot of one array and the axes that it follows, as the rule sees the array."""
    slots = jax.eval_shape(lambda p: rule.init(p), p)  # a function of its own: nothing that JAX keeps by the rule
    shapes = {name: x.shape for name, x in (slots._asdict() if slots else {}).items() if x is not None}
    declared, names = dict(rule.axes(p)), getattr(slots, "_fields", ())
    for name in declared.keys() - set(names):
        raise ValueError(f"{owner}: axes are declared for {name!r}, which is not a slot; valid: {', '.join(names)}")
    table = {name: (shape, tuple(declared.get(name, axes_by_shape(shape, p.shape)))) for name, shape in shapes.items()}
    for name, (shape, axes) in table.items():
        pairs = zip(axes, shape, strict=False)
        if len(axes) != len(shape) or any(isinstance(i, int) and p.shape[i : i + 1] != (n,) for i, n in pairs):
            problem = f"the slot {name!r} of shape {shape} is declared to follow the axes {axes}"
            raise ValueError(f"{owner}: {problem} of an array of shape {p.shape}")
    return table


def _places(view: View) -> list[int | None]:
    """For each axis that a view shows the axis of the array that it is, None where several make it or one is cut.

    An axis is the parts that the view takes it apart into; parts of length 1 count for nothing.
    """
    if 0 in view.shape:
        return [None] * len(view.shown)
    axes = _grouped(range(len(view.split)), view, view.shape)
    shown = _grouped(view.order, view, view.shown)
    return [axes.index(parts) if parts and parts in axes else None for parts in shown]


def _grouped(order: Any, view: View, lengths: tuple[int, ...]) -> list[list[int]]:
    """The parts that make up each axis, without those of length 1."""
    rest, groups = [i for i in order if view.split[i] != 1], []
    for length in lengths:
        group, product = [], 1
        while product < length:
            group.append(rest.pop(0))
            product *= view.split[group[-1]]
        groups.append(group)
    return groups
