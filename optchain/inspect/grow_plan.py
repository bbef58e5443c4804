"""Where each leaf of a larger model comes from, as the texts on its axes and the patterns on its paths say."""

import dataclasses
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from optchain.core.paths import matches, nearest
from optchain.inspect.grown_leaf import NEW, Source
from optchain.inspect.unit_axes import Axis, axes_of, dealt, index, sizes


@dataclasses.dataclass(frozen=True)
class Rules:
    """What `grow` is told."""

    axes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    identity: Sequence[str] = ()
    zero: Sequence[str] = ()
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layers: Sequence[str] = ()
    stack: bool = False
    factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    noise: float = 0.0
    seed: int = 0


def planned(before: Mapping[str, Any], after: Mapping[str, Any], rules: Rules) -> dict[str, Source]:
    """Where each leaf of the larger model comes from, by paths.

    Raises:
        ValueError: see `grow`.
    """
    for what in ("axes", "identity", "zero", "sources", "layers", "factors"):
        for pattern in getattr(rules, what):
            if not any(matches(path, pattern) for path in after):
                raise ValueError(f"{what}: {pattern!r} matches no parameter; {nearest(pattern, after)}")
    for pattern, source in rules.sources.items():
        if pattern.count("*") != source.count("*"):
            raise ValueError(f"sources: {pattern!r} = {source!r}; expected as many * on the right as on the left")
    origins = {path: _origin(path, before, rules) for path in after}
    lost = sorted(before.keys() - set(origins.values()))
    if lost:
        raise ValueError(f"the parameter {lost[0]!r} has no place in the larger model; {nearest(lost[0], after)}")
    named = {path: found for path in after if (found := _axes(path, rules)) is not None}
    here = sizes((path, axes, after[path].shape) for path, axes in named.items())
    there = sizes((path, axes, before[o].shape) for path, axes in named.items() if (o := origins[path]) is not None)
    units = {
        name: dealt(name, there[name], n, rules.seed) for name, n in here.items() if name in there and n != there[name]
    }
    return {path: _source(path, x, origins[path], before, named, units, there, rules) for path, x in after.items()}


def _origin(path: str, before: Mapping[str, Any], rules: Rules) -> str | None:
    """The path in the small model of what a leaf comes from."""
    if _any(path, rules.identity):
        return None
    for pattern, source in rules.sources.items():
        found = re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), path)
        if found is not None:
            pieces = source.split("*")
            origin = "".join(piece + part for piece, part in zip(pieces, [*found.groups(), ""], strict=True))
            if origin not in before:
                raise ValueError(f"sources: {path!r} would come from {origin!r}; {nearest(origin, before)}")
            return origin
    return path if path in before else None


def _axes(path: str, rules: Rules) -> tuple[Axis, ...] | None:
    for pattern, text in rules.axes.items():
        if matches(path, pattern):
            try:
                return axes_of(text)
            except ValueError as error:
                raise ValueError(f"axes: {pattern!r}: {error}") from None
    return None


def _source(
    path: str,
    like: Any,
    origin: str | None,
    before: Mapping[str, Any],
    named: Mapping[str, tuple[Axis, ...]],
    units: Mapping[str, np.ndarray],
    there: Mapping[str, int],
    rules: Rules,
) -> Source:
    is_zero, seed = _any(path, rules.zero), zlib.crc32(f"{rules.seed}:{path}".encode())
    is_identity = origin is None and _any(path, rules.identity)
    if origin is None and (not is_identity or len(like.shape) == 1):
        return Source(None, is_zero=is_zero or is_identity)
    axes = named.get(path, (Axis(("_",), (False,)),) * len(like.shape))
    eye = None if origin is not None else _units(path, like, axes, there)
    shape: tuple[int, ...] = before[origin].shape if origin is not None else (eye or 0,) * 2
    if len(shape) != len(like.shape):
        raise ValueError(f"{path!r} has {len(shape)} axes before and {len(like.shape)} after; expected as many")
    layers, indices = None, []
    for i, (axis, n, m) in enumerate(zip(axes, shape, like.shape, strict=True)):
        found = index(axis, n, m, units, there)
        if found is None and n != m and i == 0 and n < m and _any(path, rules.layers):
            layers = np.where(np.arange(m) < n, np.arange(m), np.arange(m) % n if rules.stack else NEW)
        elif found is None and n != m:
            sizes = f"{' x '.join(map(str, shape))} before and {' x '.join(map(str, like.shape))} after"
            cure = "say in axes which units they count" if n < m else "a growth makes nothing smaller"
            raise ValueError(f"{path!r} is {sizes}, along axis {i}, which no growing units have: {cure}")
        indices.append(found)
    factor = next((x for pattern, x in rules.factors.items() if matches(path, pattern)), 1.0)
    return Source(origin, tuple(indices), layers, factor, is_zero, eye, rules.noise, seed)


def _units(path: str, like: Any, axes: tuple[Axis, ...], there: Mapping[str, int]) -> int:
    """How many units a new matrix is the identity of, before they grow."""
    found = [
        there.get(axis.names[0], n) if len(axis.names) == 1 else n for axis, n in zip(axes, like.shape, strict=True)
    ]
    if len(found) != 2 or found[0] != found[1]:
        said = " x ".join(map(str, found))
        raise ValueError(f"identity: {path!r} leads from and to {said} units; expected a matrix of as many")
    return found[0]


def _any(path: str, patterns: Iterable[str]) -> bool:
    return any(matches(path, pattern) for pattern in patterns)
