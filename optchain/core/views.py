"""Matrix views: how a parameter with other axes than rows and columns is seen as matrices."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

Views = Mapping[str, str]  # from patterns on paths to views, such as "h w i o -> (h w i) o"

ATOM = r"\w+(?:\+\w+)*"  # the name of an axis, or the lengths of the parts along one
SIDE = rf"(\s*({ATOM}|\((\s*{ATOM})+\s*\)))+\s*"


@dataclasses.dataclass(frozen=True)
class View:
    """One view of one shape, such as `"d (3 k) -> 3 d k"`; the last two axes of what it shows are the matrix."""

    shape: tuple[int, ...]
    split: tuple[int, ...]  # the shape with its groups taken apart
    order: tuple[int, ...]
    shown: tuple[int, ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        """The array as it is shown, where it has the parameter's shape."""
        return x.reshape(self.split).transpose(self.order).reshape(self.shown) if x.shape == self.shape else x

    def back(self, x: jax.Array) -> jax.Array:
        """The array in the parameter's shape, where it has the shape that is shown."""
        if x.shape != self.shown:
            return x
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return x.reshape([self.split[i] for i in self.order]).transpose(inverse).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class PartedView:
    """A view of unequal parts, such as `"d (8+2+2 k) -> d (8+2+2 k)"`: each part is shown by itself."""

    shape: tuple[int, ...]
    split: tuple[int, ...]  # the shape with its groups taken apart
    axis: int  # the axis of `split` along which the parts stand
    parts: tuple[View, ...]

    @property
    def shown(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each part as it is shown."""
        return tuple(part.shown for part in self.parts)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """The parts of an array of the parameter's shape, as they are shown."""
        ends = list(itertools.accumulate(part.split[self.axis] for part in self.parts))
        pieces = jax.numpy.split(x.reshape(self.split), ends[:-1], axis=self.axis)
        return [part(piece.reshape(part.shape)) for part, piece in zip(self.parts, pieces, strict=True)]

    def back(self, pieces: Sequence[jax.Array]) -> jax.Array:
        """The array in the parameter's shape whose parts these are."""
        split = [part.back(piece).reshape(part.split) for part, piece in zip(self.parts, pieces, strict=True)]
        return jax.numpy.concatenate(split, axis=self.axis).reshape(self.shape)


def view(text: str, shape: tuple[int, ...]) -> View | PartedView:
    """The view of a shape. Names on the left are its axes, a group in brackets is one axis taken apart, a number is a
    length, and a sum of numbers the lengths of parts; on the right they stand in their new order, and a group is one
    axis.

    Raises:
        ValueError: a text of another form, or one that does not fit the shape.
    """
    left, right = sides(text)
    if len(left) != len(shape):
        raise ValueError(f"view {text!r} has {len(left)} axes on the left, the shape {shape} has {len(shape)}")
    lengths: dict[str, int] = {}
    for group, size in zip(left, shape, strict=True):
        known = {name: sum(parts_of(name)) for name in group if parts_of(name)}
        rest = [name for name in group if name not in known]
        product = math.prod(known.values())
        if len(rest) > 1 or (product != size if not rest else size % product):
            problem = f"axis ({' '.join(group)}) is {size} long"
            raise ValueError(f"view {text!r} does not fit the shape {shape}: {problem}")
        lengths |= known | {name: size // product for name in rest}
    names = [name for group in left for name in group]
    order = tuple(names.index(name) for group in right for name in group)
    parted = [name for name in names if "+" in name]

    def seen(shape: tuple[int, ...], lengths: dict[str, int]) -> View:
        shown = tuple(math.prod(lengths[name] for name in group) for group in right)
        return View(shape, tuple(lengths[name] for name in names), order, shown)

    if not parted:
        return seen(shape, lengths)
    of_parts = [lengths | {parted[0]: length} for length in parts_of(parted[0])]
    parts = [seen(tuple(table[name] for name in names), table) for table in of_parts]
    return PartedView(shape, tuple(lengths[name] for name in names), names.index(parted[0]), tuple(parts))


def parts_of(name: str) -> list[int]:
    """The lengths that a number, or a sum of numbers, says; none for a name."""
    numbers = name.split("+")
    return [int(number) for number in numbers] if all(number.isdigit() for number in numbers) else []


def sides(text: Any) -> tuple[list[list[str]], list[list[str]]]:
    """The groups of names on both sides of a view.

    Raises:
        ValueError: what is not a view, or has other names on the one side than on the other.
    """
    compact = re.sub(r"\s*\+\s*", "+", text) if isinstance(text, str) else ""
    if re.fullmatch(f"{SIDE}->{SIDE}", compact) is None:
        example = "such as 'h w i o -> (h w i) o'"
        raise ValueError(f"{text!r} is not a view; expected axes on both sides of an arrow, {example}")
    left, right = (
        [group[1:-1].split() if group.startswith("(") else [group] for group in re.findall(rf"\([^)]*\)|{ATOM}", part)]
        for part in compact.split("->")
    )
    names = [sorted(name for group in side for name in group) for side in (left, right)]
    if names[0] != names[1] or len(set(names[0])) < len(names[0]):
        raise ValueError(f"view {text!r}: each axis must stand once on either side of the arrow")
    if len(right) < 2:
        raise ValueError(f"view {text!r} shows one axis; expected at least rows and columns")
    parted = [name for name in names[0] if "+" in name]
    if len(parted) > 1 or not all(parts_of(name) and all(parts_of(name)) for name in parted):
        expected = "one axis with the lengths of its parts, such as 8+2+2"
        raise ValueError(f"view {text!r} has the parts {' and '.join(parted)}; expected at most {expected}")
    return left, right
