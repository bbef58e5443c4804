"""What a step has made of one array, in numbers and in words, by the array before and after alone."""

import dataclasses
import math

import numpy as np

EXACT = 1e-6  # of the largest entry: what differs by less is the same
FEW = 4  # entries: of fewer, that they are multiples of another array says nothing


@dataclasses.dataclass(frozen=True)
class Effect:
    """What has become of an update.

    Attributes:
        norm: of the update that leaves.
        factor: by how much the norm grew.
        turned: the angle between what enters and what leaves, in degrees; NaN where one of them is zero.
        angle: the angle between what leaves and the gradient, in degrees: added to the parameter, what is below 90
            climbs, and what is above descends. NaN where one of them is zero.
        largest: the largest entry by size.
        at: its index.
        zeros: the share of entries that are 0.
        did: what was done, in words.
    """

    norm: float
    factor: float
    turned: float
    angle: float
    largest: float
    at: tuple[int, ...]
    zeros: float
    did: str


def effect(before: np.ndarray, after: np.ndarray, gradient: np.ndarray, param: np.ndarray | None) -> Effect:
    """The effect of a step on one array.

    Args:
        before: the update that enters.
        after: the update that leaves.
        gradient: what entered the whole transformation.
        param: the parameter, if it is known.
    """
    entering, norm = _norm(before), _norm(after)
    at = np.unravel_index(int(np.argmax(np.abs(after))), after.shape) if after.size else ()
    return Effect(
        norm=norm,
        factor=norm / entering if entering else math.nan,
        turned=_angle(before, after),
        angle=_angle(after, gradient),
        largest=float(after[at]) if after.size else 0.0,
        at=tuple(int(i) for i in at),
        zeros=float(np.mean(after == 0)) if after.size else 0.0,
        did=said(before, after, param),
    )


def said(before: np.ndarray, after: np.ndarray, param: np.ndarray | None) -> str:
    """What was done, in words: the simplest that the two arrays, and the parameter, allow."""
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return _not_finite(before, after)
    if _same(before, after):
        return "nothing"
    if not after.any():
        return "set to 0"
    if (c := _multiple(after, before)) is not None:
        return f"times {c:.4g}"
    lost = (after == 0) & (before != 0)
    kept = ~lost
    if lost.any() and _same(before[kept], after[kept]):
        return f"{_count(lost)} set to 0"
    if (text := _clipped(before, after)) is not None:
        return text
    if param is not None and (c := _multiple(after - before, param)) is not None:
        return f"{'plus' if c > 0 else 'minus'} {abs(c):.4g} times the parameter"
    if lost.any() and (c := _multiple(after[kept], before[kept])) is not None:
        return f"{_count(lost)} set to 0, the others times {c:.4g}"
    flipped = (np.sign(after) == -np.sign(before)) & (before != 0)
    return f"another direction; {_count(flipped)} have another sign" if flipped.any() else "another direction"


def _clipped(before: np.ndarray, after: np.ndarray) -> str | None:
    """What is said where entries beyond a limit were set to it, and the others left."""
    changed = np.abs(after - before) > EXACT * np.abs(before).max()
    limit = float(np.abs(after[changed]).max())
    at_limit = np.allclose(np.abs(after[changed]), limit, rtol=EXACT) and (np.abs(before[changed]) > limit).all()
    same_sign = (np.sign(after[changed]) == np.sign(before[changed])).all()
    if not (at_limit and same_sign and (np.abs(after[~changed]) <= limit * (1 + EXACT)).all()):
        return None
    return f"{_count(changed)} clipped to {limit:.4g}"


def _not_finite(before: np.ndarray, after: np.ndarray) -> str:
    made = ~np.isfinite(after) & np.isfinite(before)
    if made.any():
        return f"{_count(made)} became infinite or NaN"
    left = ~np.isfinite(after)
    return f"{_count(left)} are infinite or NaN" if left.any() else "took away what was infinite or NaN"


def _multiple(x: np.ndarray, of: np.ndarray) -> float | None:
    """The number that `x` is so many times of another array; None if there is none."""
    square = float(np.vdot(of, of))
    if x.size < FEW or square == 0 or np.count_nonzero(of) < FEW:
        return None
    c = float(np.vdot(of, x)) / square
    return c if c and np.abs(x - c * of).max() <= 10 * EXACT * np.abs(x).max() else None


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return not a.size or bool(np.abs(a - b).max() <= EXACT * np.abs(a).max())


def _count(where: np.ndarray) -> str:
    return f"{int(where.sum()):,} of {where.size:,} entries"


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.ravel()))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two arrays, from the sine of half the angle, which is exact where they are near each other."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or not a.any() or not b.any() or a.shape != b.shape:
        return math.nan
    a, b = a / _norm(a), b / _norm(b)
    return math.degrees(2 * math.atan2(_norm(a - b), _norm(a + b)))
