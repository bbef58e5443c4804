"""Schedules and averages against the length of the run."""

from collections.abc import Callable, Iterator

import numpy as np

from optchain.core.describe import values_of
from optchain.inspect.lints.curves import Curve
from optchain.inspect.lints.finding import Finding
from optchain.inspect.lints.measure import attempt
from optchain.inspect.lints.structure import RATES
from optchain.inspect.lints.subject import Subject

CUT = 0.1  # of the peak: by less the end is reached nearly
TAIL = 0.02  # of the run


def always_zero(subject: Subject) -> Iterator[Finding]:
    """A rate that is 0 in every step."""
    for curve in _rates(subject):
        if curve.steps is not None and curve.peak == 0:
            says = f"its schedule is 0 in all {curve.steps} steps"
            yield Finding("rate-always-zero", "error", (curve.where,), says, "give the schedule a peak above 0")


def cut_off(subject: Subject) -> Iterator[Finding]:
    """A schedule whose end the run does not reach."""
    for curve in _rates(subject):
        end = None if curve.steps is None or _rises(curve) or curve.peak == 0 else curve.end
        if end is None or end[0] <= curve.steps:  # pyright: ignore
            continue
        if abs(curve.last - end[1]) > CUT * abs(curve.peak):
            says = (
                f"it ends at step {end[0]}; the run ends after {curve.steps}, with {curve.last:.3g}, not {end[1]:.3g}"
            )
            cure = f"give the schedule the length of the run, {curve.steps} steps"
            yield Finding("schedule-cut-off", "warning", (curve.where,), says, cure)


def zero_at_the_end(subject: Subject) -> Iterator[Finding]:
    """A rate that is 0 before the run ends."""
    for curve in _rates(subject):
        if curve.steps is not None and curve.peak != 0 and curve.last == 0:
            last = int(curve.at[np.flatnonzero(curve.values)[-1]])
            yield from _rest(curve.where, curve.steps, last, lambda k, curve=curve: curve.value(np.array([k]))[0] != 0)
    # What stands within a chain of optax shows its schedule by what it does alone.
    only = subject.everything[0]
    if only.is_opaque and subject.steps and subject.small and attempt(lambda: subject.moves_at(1)):
        if attempt(lambda: subject.moves_at(subject.steps - 1)) is False:  # pyright: ignore
            yield from _rest(only.where, subject.steps, 1, subject.moves_at)


def _rest(where: str, steps: int, last: int, moves: Callable[[int], bool]) -> Iterator[Finding]:
    """The finding of a rate that is 0 from some step on.

    Args:
        where: the link.
        steps: of the run.
        last: a step at which the rate is not 0.
        moves: whether it is not 0 at a step.
    """
    high = steps - 1
    while high - last > 1:
        middle = (last + high) // 2
        last, high = (middle, high) if moves(middle) else (last, middle)
    rest = steps - high
    if rest > max(2, TAIL * steps):
        says = f"the rate is 0 in the last {rest} of {steps} steps, in which nothing moves"
        cure = f"give the schedule the length of the run, {steps} steps, or end the run at step {high}"
        yield Finding("rate-zero-at-the-end", "warning", (where,), says, cure)


def warm_up(subject: Subject) -> Iterator[Finding]:
    """A warm-up that is longer than the run, or most of it."""
    for curve in _rates(subject):
        if curve.steps is None or curve.peak == 0:
            continue
        first = int(curve.at[int(np.argmax(np.abs(curve.values)))])
        if abs(curve.values[0]) > 0.5 * abs(curve.peak):
            continue
        if _rises(curve):
            says = f"the rate still rises when the run of {curve.steps} steps ends, at {curve.last:.3g}"
        elif first > curve.steps / 2:
            says = f"the warm-up takes {first} of {curve.steps} steps"
        else:
            continue
        cure = f"shorten the warm-up; {max(curve.steps // 20, 1)} steps are a twentieth of the run"
        yield Finding("warmup-too-long", "warning", (curve.where,), says, cure)


def average_too_long(subject: Subject) -> Iterator[Finding]:
    """An average of the parameters in which the initial ones stay."""
    for link in subject.everything:
        steps, decay = subject.steps_of(link), link.numbers.get("decay")
        if link.technique != "average_params" or steps is None or not isinstance(decay, float):
            continue
        if link.numbers["start"] != 0:  # before that it is the parameter
            continue
        if 1 / (1 - decay) > steps and not values_of(link.definition).get("debias", False):
            left = decay**steps
            says = f"decay={decay:g} averages {1 / (1 - decay):.0f} steps, and the run has {steps}: {left:.0%}"
            cure = f"take decay={1 - 10 / max(steps, 11):.3g}, or debias=True"
            yield Finding("average-too-long", "warning", (link.where,), f"{says} of it is the initial parameters", cure)


def _rates(subject: Subject) -> list[Curve]:
    return [curve for curve in subject.curves if curve.number in RATES]


def _rises(curve: Curve) -> bool:
    """Whether a rate rises all through the run, and after it."""
    sizes = np.abs(curve.values)
    return bool(
        sizes[-1] == sizes.max() and sizes[0] <= 0.5 * sizes[-1] and (np.diff(sizes) >= 0).all() and _moves(curve)
    )


def _moves(curve: Curve) -> bool:
    """Whether it goes on to rise after the run."""
    return curve.steps is not None and abs(curve.value(np.array([curve.steps]))[0]) > abs(curve.last)
