"""The shapes of a base model by path, and what each leaf of a larger one is in it."""

import dataclasses
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

from optchain.core.door import ARRAYS
from optchain.core.holes import is_hole
from optchain.core.layers import Layers, depths
from optchain.core.paths import matches, named_leaves, names_of, nearest
from optchain.core.spread import parts, spread
from optchain.core.views import Views
from optchain.parametrization.growth import Growth, growth

SAME = "same"


@dataclasses.dataclass(frozen=True, repr=False)
class Base:
    """A base model.

    Attributes:
        shapes: paths, or patterns on paths, with the shape there; None for one that is as in the larger model.
        blocks: patterns on the key of a block that is repeated, such as `layer_*`.
    """

    shapes: tuple[tuple[str, tuple[int, ...] | None], ...]
    blocks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{len(self.shapes)} shapes"

    def growths(self, tree: Any, layers: Layers | None, views: Views) -> dict[str, Growth]:
        """The growth of each leaf of a tree like the parameters, by its name.

        Raises:
            ValueError: a leaf that the base model lacks, or one whose shape does not fit.
        """
        found, leaves = {}, named_leaves(tree)
        blocks = self._blocks(names_of(tree, is_hole))  # those that a mask leaves out are layers all the same
        for (path, x), axes in zip(leaves, depths(layers, tree), strict=True):
            shape = whole_shape(path, x)
            base = self.shape_of(path)
            text = next((text for pattern, text in views.items() if matches(path, pattern)), None)
            grown = growth(path, shape, shape if base is None else base, axes, text)
            found[path] = dataclasses.replace(grown, depth=grown.depth * blocks.get(self._block(path), 1.0))
        return found

    def shape_of(self, path: str) -> tuple[int, ...] | None:
        """The shape that a leaf has in the base model; None where it is the same there."""
        return dict(self.shapes)[self._entry(path)]

    def twin(self, path: str, names: Iterable[str]) -> str:
        """Which of the leaves of a tree of the base model a leaf is compared with: that of its name, or of a block."""
        names = list(names)
        return path if path in names else next((x for x in names if self._same_in_block(path, x)), path)

    def _entry(self, path: str) -> str:
        """The path or the pattern that says what a leaf is in the base model; what it lacks of a block another has."""
        names = [name for name, _ in self.shapes]
        if path in names:
            return path
        for name in names:
            if matches(path, name) or self._same_in_block(path, name):
                return name
        raise ValueError(f"mup: the base model has no leaf {path!r}; {nearest(path, names)}")

    def _same_in_block(self, path: str, other: str) -> bool:
        block = self._block(path)
        return bool(block[1]) and self._block(other) == block

    def _block(self, path: str) -> tuple[str, str, str]:
        """What stands before the key of a block, the pattern of the block, and what follows; no pattern for others."""
        keys = path.split("/")
        for i, key in enumerate(keys):
            for pattern in self.blocks:
                if fnmatch.fnmatchcase(key, pattern):
                    return "/".join(keys[:i]), pattern, "/".join(keys[i + 1 :])
        return "", "", ""

    def _blocks(self, paths: Sequence[str]) -> dict[tuple[str, str, str], float]:
        """For each leaf of a block how many of it there are over how many in the base model."""
        counts: dict[tuple[str, str, str], list[int]] = {}
        for i, names in enumerate((paths, [path for path, _ in self.shapes])):
            for path in names:
                block = self._block(path)
                if block[1]:
                    counts.setdefault(block, [0, 0])[i] += 1
        for pattern in self.blocks:
            if paths and not any(block[1] == pattern for block in counts):
                keys = {key for path in paths for key in path.split("/")}
                raise ValueError(f"mup: blocks {pattern!r} match no key of a parameter; {nearest(pattern, keys)}")
        return {block: n / m for block, (n, m) in counts.items() if n and m}


def base_of(base: Any, blocks: tuple[str, ...] = ()) -> Base:
    """The base model that an argument describes.

    Args:
        base: a tree of arrays or of anything with a `shape`; or a table by path or pattern, nested or not, of lists of
            sizes, and `"same"` for leaves that do not grow.
        blocks: see `Base`.

    Raises:
        ValueError: anything else.
    """
    if isinstance(base, Base):
        return dataclasses.replace(base, blocks=blocks)
    shapes = [(path, _shape(path, x)) for path, x in named_leaves(base, _is_shape)]
    if not shapes:
        raise ValueError(f"mup: the base model has no leaves; expected parameters or their shapes, got {base!r}")
    return Base(tuple(shapes), blocks)


def table_of(base: Any) -> dict[str, Any]:
    """The shapes of a base model as plain data."""
    return {path: SAME if shape is None else list(shape) for path, shape in base_of(base).shapes}


def whole_shape(path: str, x: Any) -> tuple[int, ...]:
    """The shape of a leaf, of which a device may have a part under `over_axes`."""
    here = spread()
    if here is None:
        return tuple(x.shape)
    split = here.split(path, x)
    return tuple(n * parts(split.get(i - x.ndim, ())) for i, n in enumerate(x.shape))


def _is_shape(x: Any) -> bool:
    return isinstance(x, str) or (isinstance(x, list | tuple) and all(type(n) is int for n in x))


def _shape(path: str, x: Any) -> tuple[int, ...] | None:
    if isinstance(x, str) and x == SAME:
        return None
    if isinstance(x, list | tuple) and all(type(n) is int and n >= 0 for n in x):
        return tuple(x)
    if isinstance(x, ARRAYS):
        return tuple(x.shape)
    expected = f"expected an array, a list of sizes, or {SAME!r}"
    raise ValueError(f"mup: the base model has {x!r} at {path!r}; {expected}")


def patterns(name: str, value: Any) -> tuple[str, ...]:
    """An argument that is a pattern, several, or None for none.

    Raises:
        ValueError: it is something else.
    """
    if value is None:
        return ()
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not found or not all(isinstance(x, str) for x in found):
        raise ValueError(f"mup: {name} must be a pattern or several, got {value!r}")
    return found


def require_used(name: str, chosen: Sequence[str], paths: Sequence[str]) -> None:
    """Every pattern matches a leaf, or an error names the first that does not."""
    for pattern in chosen if paths else ():
        if not any(matches(path, pattern) for path in paths):
            raise ValueError(f"mup: {name} {pattern!r} matches no parameter; {nearest(pattern, paths)}")
