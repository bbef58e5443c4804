"""Steps that go uphill."""

import math
from collections.abc import Iterator

from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.measure import Moved
from optchain.inspect.lints.rates import without_rate
from optchain.inspect.lints.subject import Subject

UP = 0.3  # cosine to the gradient, over a few steps on gradients of one direction
ENOUGH = 64  # entries, of which random numbers do not point anywhere


def uphill(subject: Subject) -> Iterator[Finding]:
    """Added to the parameters, the update of an optimizer goes against the gradient."""
    stray = {path for paths in without_rate(subject).values() for path in paths}  # another check says why
    up = [path for path, steps in subject.small.items() if _climbs(steps) and path not in stray and _tells(subject, path)]
    by_flips: dict[tuple[str, ...], list[str]] = {}
    for path in up:
        by_flips.setdefault(tuple(flips(subject, path)), []).append(path)
    for names, paths in by_flips.items():
        if not names:
            says = f"the update goes up the gradient, so that the loss grows: no link flips the sign ({shortened(paths)})"
            last = [link.where for link in subject.lines.get(paths[0], [])[-1:]]
            cure = "end the chain with scale_by_learning_rate(rate), which flips it, or with scale(-rate)"
            yield Finding("uphill", "error", tuple(last) or tuple(paths), says, cure)
        elif len(names) % 2 == 0:
            says = f"these links flip the sign {len(names)} times, so that the loss grows ({shortened(paths)})"
            cure = "leave one of them out, or give it flip_sign=False or a positive factor"
            yield Finding("uphill", "error", names, says, cure)
        else:
            says = "the update goes up the gradient, so that the loss grows"
            cure = "flip its sign once: scale_by_learning_rate(rate) with a positive rate, or scale(-rate)"
            yield Finding("uphill", "error", names, f"{says} ({shortened(paths)})", cure)


def flips(subject: Subject, path: str) -> list[str]:
    """The links that flip the sign of the update of a parameter."""
    found = []
    for link in subject.lines.get(path, []):
        alone = subject.alone.get(link.where, {}).get(path)
        factor = subject.factor(link, path)
        if (factor is not None and factor < 0) or (alone is not None and _cosine((alone[0],)) < -UP):
            found.append(link.where)
    return found


def _climbs(steps: tuple[Moved, ...]) -> bool:
    return _cosine(steps) > UP


def _cosine(steps: tuple[Moved, ...]) -> float:
    """The cosine of the angle between the updates and the gradients, over several steps."""
    across = math.sqrt(sum(x.uu for x in steps) * sum(x.gg for x in steps))
    return sum(x.ug for x in steps) / across if across else 0.0


def _tells(subject: Subject, path: str) -> bool:
    """Whether the direction is more than the chance of what is drawn."""
    line = subject.lines.get(path, [])
    return subject.small[path][0].size >= ENOUGH or not any(link.technique in roles.RANDOM for link in line)
