"""In what two optimizers, or two states, differ, by name."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from optchain.core.describe import aligned, is_only_links, maker_or_type, shown, technique, values_of, written
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves
from optchain.core.transform import definition_of
from optchain.core.walk import walk

SHOWN = 40  # rows of the text
NOTHING = "-"


@dataclasses.dataclass(frozen=True)
class Row:
    """One difference.

    Attributes:
        name: the dotted name of a link or of its argument, or the path of an array in a state.
        a: what the first has there; `-` for nothing.
        b: what the second has there; `-` for nothing.
        by: how far arrays are apart; empty for all else.
    """

    name: str
    a: str
    b: str
    by: str = ""


class Difference(tuple[Row, ...]):
    """All differences by name, false if there are none; the text is a table."""

    def __str__(self) -> str:
        if not self:
            return "no difference"
        header = ("name", "a", "b", "by") if any(row.by for row in self) else ("name", "a", "b")
        rows = [dataclasses.astuple(row)[: len(header)] for row in self[:SHOWN]]
        rest = [f"and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return "\n".join([aligned([header, *rows]), *rest])


def diff(a: Any, b: Any) -> Difference:
    """In what two optimizers, or two states of optimizers, differ.

    Optimizers differ in links, in what makes a link, in arguments, and in the order of links; a transformation of
    optax is known by the function that made it, because its arguments cannot be read. States differ in arrays, their
    shapes and dtypes, and their values: how many entries, and the largest distance beside the largest entry of `a`. NaN
    equals NaN.

    Args:
        a: an optimizer, or a state or any other tree of arrays.
        b: what it is compared with: an optimizer if `a` is one.

    Returns:
        A `Difference`: a tuple of rows, false if there are none, whose text is a table.

    Raises:
        TypeError: one is an optimizer, the other is not.

    >>> import optchain as oc
    >>> for row in oc.diff(oc.adamw(1e-3), oc.adamw(1e-3, b2=0.95, weight_decay=0.1)):
    ...     print(row.name, row.a, row.b)
    adam.b2 0.999 0.95
    decay.weight_decay 0.0001 0.1
    """
    are_optimizers = [_is_optimizer(x) for x in (a, b)]
    if all(are_optimizers):
        return Difference(_of_optimizers(a, b))
    if any(are_optimizers):
        kinds = [
            "an optimizer" if yes else f"a {type(x).__name__}" for yes, x in zip(are_optimizers, (a, b), strict=True)
        ]
        raise TypeError(f"diff compares two optimizers or two states; got {kinds[0]} and {kinds[1]}")
    return Difference(_of_trees(a, b))


def _is_optimizer(x: Any) -> bool:
    return isinstance(x, (optax.GradientTransformation, optax.MultiSteps))


def _of_optimizers(a: Any, b: Any) -> list[Row]:
    first, second = _arguments(a), _arguments(b)
    rows = []
    for name in _together(list(first), list(second)):
        one, other = first.get(name), second.get(name)
        if one is None or other is None:
            rows.append(Row(name, *(NOTHING if x is None else _call(x) for x in (one, other))))
        elif one[0] != other[0]:
            rows.append(Row(name, _call(one), _call(other)))
        else:
            rows += _of_arguments(name, one[1], other[1])
    common = [[name for name in found if name in first and name in second] for found in (first, second)]
    if common[0] != common[1]:
        rows.append(Row("order", ", ".join(common[0]), ", ".join(common[1])))
    return rows


def _of_arguments(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Row]:
    for key in _together(list(first), list(second)):
        texts = [shown(x[key]) if key in x else NOTHING for x in (first, second)]
        if key in first and key in second and _equal(first[key], second[key]):
            continue
        if texts[0] == texts[1]:  # as short as that they are the same
            texts = [written(first[key]), written(second[key])]
        yield Row(f"{name}.{key}", *texts)


def _arguments(tx: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """The technique and the arguments of each link and wrapper by its dotted name."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for prefix, inner in walk(tx):
        if is_only_links(inner):
            continue
        definition = definition_of(inner)
        name = prefix or (maker_or_type(inner) if definition is None else definition.name)
        # A wrapper shares its prefix with what stands within.
        name = name if name not in found else f"{name}:{technique(inner)}"
        found[name] = technique(inner), {} if definition is None else values_of(definition)
    return found


def _call(found: tuple[str, dict[str, Any]]) -> str:
    name, values = found
    texts = {key: shown(x) for key, x in values.items() if x not in (None, {})}
    return f"{name}({', '.join(f'{key}={text}' for key, text in texts.items() if text)})"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, (jax.Array, np.ndarray)) or isinstance(b, (jax.Array, np.ndarray)):
        return bool(np.array_equal(a, b))
    return bool(a == b)


def _together(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The names of both, in the order of the first, and new ones after those that they follow in the second."""
    names = list(first)
    for i, name in enumerate(second):
        if name not in names:
            names.insert(names.index(second[i - 1]) + 1 if i else 0, name)
    return names


def _of_trees(a: Any, b: Any) -> list[Row]:
    first, second = ({path: x for path, x in named_leaves(tree, is_hole) if not is_hole(x)} for tree in (a, b))
    rows = []
    for path in _together(list(first), list(second)):
        if path not in first or path not in second:
            rows.append(Row(path, *(_kind(x[path]) if path in x else NOTHING for x in (first, second))))
            continue
        one, other = first[path], second[path]
        if _kind(one) != _kind(other):
            rows.append(Row(path, _kind(one), _kind(other)))
        elif text := _apart(_plain(one), _plain(other)):
            few = all(np.ndim(x) == 0 for x in (one, other))
            texts = [f"{_plain(x)}" if few else _kind(x) for x in (one, other)]
            rows.append(Row(path, texts[0], texts[1], text))
    return rows


def _kind(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if isinstance(x, (jax.Array, np.ndarray, jax.ShapeDtypeStruct)) else repr(x)


def _plain(x: Any) -> Any:
    """The numbers of an array, those of a key too; None where there are only shapes."""
    if isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if not isinstance(x, (jax.Array, np.ndarray)):
        return None
    x = np.asarray(x)
    return x if x.dtype.kind in "biufc" else x.astype(np.float32)  # bfloat16 and the like


def _apart(a: Any, b: Any) -> str:
    """How far two arrays of one shape are apart; empty where they are the same."""
    if a is None or b is None:
        return ""
    differ = ~((a == b) | ((a != a) & (b != b)))
    if not differ.any():
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(np.where(differ, a, 0).astype(np.float64) - np.where(differ, b, 0).astype(np.float64))
        size = f"{far.max():.2g} of {np.nanmax(np.abs(a.astype(np.float64)), initial=0.0):.2g}"
    count = f"{int(differ.sum()):,} of {differ.size:,} entries, " if differ.ndim else ""
    return count + (size if np.isfinite(far).all() else "some are infinite or NaN in one")
