"""Moments: twice, after the rate, and decays that do not fit together."""

import math
from collections.abc import Iterator

from optchain.core.numbers import means
from optchain.core.runner import Runner
from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import APART, Finding, shortened
from optchain.inspect.lints.subject import Subject


def twice(subject: Subject) -> Iterator[Finding]:
    """Two adaptive moments in series on one parameter."""
    found: dict[tuple[str, ...], list[str]] = {}
    for path, line in subject.lines.items():
        names = tuple(link.where for link in line if subject.is_adaptive(link, path))
        if len(names) > 1:
            found.setdefault(names, []).append(path)
    for names, paths in found.items():
        if subject.have_masks(names):
            says = f"their masks overlap: the second divides {shortened(paths)}, which the first has divided"
            yield Finding("masks-overlap", "warning", names, says, APART)
        else:
            says = f"each divides {shortened(paths)} by the size of what it has seen; after the first, that is about 1"
            cure = "keep one of them, or let each step its own parameters by mask or groups"
            yield Finding("moments-twice", "warning", names, says, cure)


def out_of_reach(subject: Subject) -> Iterator[Finding]:
    """Parameters whose raw gradients share a rate with what moments have made of others."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for path, line in subject.lines.items():
        for link in line:
            if link.technique in roles.MULTIPLIERS and subject.is_rate(link, path):
                made, raw = found.setdefault(link.where, ([], []))
                if any(subject.is_adaptive(x, path) for x in subject.everything if path in x.paths):
                    made.append(path)
                elif not any(x.room in ("moments", "matrices", "stepsize") for x in line if x is not link):
                    raw.append(path)
    for rate, (made, raw) in found.items():
        if made and raw and subject.is_open:
            says = (
                f"gradients of {shortened(raw)} pass as they are, and have the rate of what moments divide by its size"
            )
            cure = "let moments step them too, or give them a rate of their own by groups"
            yield Finding("out-of-reach-of-moments", "warning", (rate, *raw), says, cure)


def momentum_after_rate(subject: Subject) -> Iterator[Finding]:
    """Momentum that holds the rates of earlier steps. With a constant rate both orders are the same."""
    found: dict[tuple[str, str], list[str]] = {}
    scheduled = {curve.where for curve in subject.curves if curve.number in ("learning_rate", "step_size")}
    for path, line in subject.lines.items():
        if any(link.technique == "scale_by_lars" for link in line):
            continue  # the order of its paper
        for i, link in enumerate(line):
            rate = next((x for x in line[:i] if x.where in scheduled and x.technique in roles.MULTIPLIERS), None)
            if link.technique == "trace" and rate is not None:
                found.setdefault((link.where, rate.where), []).append(path)
    for (momentum, rate), paths in found.items():
        says = f"updates of earlier steps continue with the rates that they had then ({shortened(paths)})"
        cure = f"put {momentum} before {rate}, as PyTorch does"
        yield Finding("momentum-after-rate", "note", (momentum, rate), says, cure)


def momentum_outlives_squares(subject: Subject) -> Iterator[Finding]:
    """A first moment that is longer than the second one allows."""
    for link in subject.everything:
        b1, b2 = (link.numbers.get(name) for name in ("b1", "b2"))
        if link.technique in roles.ADAM_LIKE and isinstance(b1, float) and isinstance(b2, float):
            if b1 >= math.sqrt(b2) and b1:
                says = (
                    f"b1={b1:g} is at least the root of b2={b2:g}, where Adam may diverge: squares fade before the mean"
                )
                cure = f"take b2 above {b1 * b1:.4g}, such as 0.999, or a smaller b1"
                yield Finding("momentum-outlives-squares", "warning", (link.where,), says, cure)


def too_long(subject: Subject) -> Iterator[Finding]:
    """Debiased means that are longer than the run."""
    for link in subject.everything:
        steps = subject.steps_of(link)
        if steps is None or not isinstance(link.definition, Runner):
            continue
        for name in means(type(link.definition.rule)):
            b = link.numbers[name]
            if isinstance(b, float) and b < 1 and 1 / (1 - b) > steps * 1.001:
                says = f"{name}={b:g} is a mean over {1 / (1 - b):.0f} steps, and the run has {steps}"
                cure = f"it is debiased, and works; {name}={1 - 10 / max(steps, 11):.3g} follows changes"
                yield Finding("moment-too-long", "note", (link.where,), says, cure)
