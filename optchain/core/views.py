"""Matrix views: how a parameter with other axes than rows and columns is seen as matrices."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax

Views = Mapping[str, str]  # from patterns on paths to views, such as "h w i o -> (h w i) o"


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


def view(text: str, shape: tuple[int, ...]) -> View:
    """The view of a shape. Names on the left are its axes, a group in brackets is one axis taken apart, a number is a
    length; on the right they stand in their new order, and a group is one axis.

    Raises:
        ValueError: a text of another form, or one that does not fit the shape.
    """
    left, right = sides(text)
    if len(left) != len(shape):
        raise ValueError(f"view {text!r} has {len(left)} axes on the left, the shape {shape} has {len(shape)}")
    lengths: dict[str, int] = {}
    for group, size in zip(left, shape, strict=True):
        known = {name: int(name) for name in group if name.isdigit()}
        rest = [name for name in group if name not in known]
        product = math.prod(known.values())
        if len(rest) > 1 or (product != size if not rest else size % product):
            problem = f"axis ({' '.join(group)}) is {size} long"
            raise ValueError(f"view {text!r} does not fit the shape {shape}: {problem}")
        lengths |= known | {name: size // product for name in rest}
    names = [name for group in left for name in group]
    order = [names.index(name) for group in right for name in group]
    shown = tuple(math.prod(lengths[name] for name in group) for group in right)
    return View(shape, tuple(lengths[name] for name in names), tuple(order), shown)


def sides(text: Any) -> tuple[list[list[str]], list[list[str]]]:
    """The groups of names on both sides of a view.

    Raises:
        ValueError: what is no view, or has other names on the one side than on the other.
    """
    parts = text.split("->") if isinstance(text, str) else []
    if (
        len(parts) != 2
        or re.fullmatch(r"(\s*(\w+|\((\s*\w+)+\s*\)))+\s*->(\s*(\w+|\((\s*\w+)+\s*\)))+\s*", text) is None
    ):
        example = "such as 'h w i o -> (h w i) o'"
        raise ValueError(f"{text!r} is no view; expected axes on both sides of an arrow, {example}")
    left, right = (
        [group[1:-1].split() if group.startswith("(") else [group] for group in re.findall(r"\([^)]*\)|\w+", part)]
        for part in parts
    )
    names = [sorted(name for group in side for name in group) for side in (left, right)]
    if names[0] != names[1] or len(set(names[0])) < len(names[0]):
        raise ValueError(f"view {text!r}: each axis must stand once on either side of the arrow")
    if len(right) < 2:
        raise ValueError(f"view {text!r} shows one axis; expected at least rows and columns")
    return left, right
