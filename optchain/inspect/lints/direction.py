"""Steps that go uphill."""

import math
from collections.abc import Iterator

from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.measure import Moved
from optchain.inspect.lints.rates import without_rate
from optchain.inspect.lints.subject import Subject

UP = 0.1  # cosine to the gradient, over a few steps on gradients of one direction


def uphill(subject: Subject) -> Iterator[Finding]:
    """Added to the parameters, the update of an optimizer goes against the gradient."""
    stray = {path for paths in without_rate(subject).values() for path in paths}  # another check says why
    up = [path for path in climbing(subject) if path not in stray]
    by_flips: dict[tuple[str, ...], list[str]] = {}
    for path in up:
        by_flips.setdefault(tuple(flips(subject, path)), []).append(path)
    for names, paths in by_flips.items():
        if not names:
            line = subject.lines.get(paths[0], [])
            inside = any(link.is_opaque for link in line)  # where flips are not seen
            why = "the sign is not flipped, or flipped twice" if inside else "no link flips the sign"
            says = f"{why}: the update goes up the gradient, and the loss grows ({shortened(paths)})"
            last = [link.where for link in line[-1:]]
            cure = "end the chain with scale_by_learning_rate(rate), which flips it, or with scale(-rate)"
            cure = "leave one of two flips out, or " + cure if inside else cure
            yield Finding("uphill", "error", tuple(last) or tuple(paths), says, cure)
        elif len(names) % 2 == 0:
            says = f"these links flip the sign {len(names)} times, so that the loss grows ({shortened(paths)})"
            cure = "leave one of them out, or give it flip_sign=False or a positive factor"
            yield Finding("uphill", "error", names, says, cure)
        else:
            says = f"the sign is flipped, and the update still goes up the gradient ({shortened(paths)})"
            cure = "give the rate a positive value; what makes a whole step, such as ftrl, needs no flip"
            yield Finding("uphill", "error", names, says, cure)


def climbing(subject: Subject) -> list[str]:
    """The parameters whose updates go up the gradient."""
    # Decay and noise, which do not depend on the sign of the gradient, cancel between a run and its mirror image.
    both = {path: steps + subject.mirrored[path] for path, steps in subject.small.items() if path in subject.mirrored}
    return [path for path, steps in both.items() if _cosine(steps) > UP]


def flips(subject: Subject, path: str) -> list[str]:
    """The links that flip the sign of the update of a parameter."""
    found = []
    for link in subject.lines.get(path, []):
        alone = subject.alone.get(link.where, {}).get(path)
        factor = subject.factor(link, path)
        turned = link.is_opaque and alone is not None and _cosine((alone[0],)) < -0.5
        if turned or (factor is not None and factor < 0):
            found.append(link.where)
    return found


def _cosine(steps: tuple[Moved, ...]) -> float:
    """The cosine of the angle between the updates and the gradients, over several steps."""
    across = math.sqrt(sum(x.uu for x in steps) * sum(x.gg for x in steps))
    return sum(x.ug for x in steps) / across if across else 0.0
