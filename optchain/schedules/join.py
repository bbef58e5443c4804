"""Schedules made of schedules."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from optchain.core.numbers import Rate
from optchain.core.schedule import schedule
from optchain.schedules.cosine import cosine
from optchain.schedules.linear import linear
from optchain.schedules.piecewise import Steps, miscounted, step_function, unordered


def _fit(schedules, boundaries) -> str | None:
    for i, part in enumerate(schedules):
        if not callable(part):
            return f"schedules[{i}] must be a schedule, got {part!r}; did you mean constant({part!r})?"
    return miscounted("schedules", schedules, boundaries) or unordered("boundaries", boundaries)


@schedule(example={"schedules": (linear(0.0, 0.1, 5), cosine(0.1, 20)), "boundaries": (5,)}, check=_fit)
def join_schedules(step, schedules: Sequence[Callable[[Any], Any]], boundaries: Steps):
    r"""One schedule after the other, each from its boundary on and with steps counted from there.

    .. math::
        \eta_t = f_i(t - b_i), \qquad b_i \le t < b_{i+1}, \qquad b_0 = 0

    Args:
        schedules: functions of the step, ours or any other's, one more than there are boundaries.
        boundaries: the steps at which the second and later schedules begin, at least 0, strictly rising.

    Raises:
        ValueError: a constant outside its range, boundaries that do not rise, a wrong number of schedules, a number
            in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.join_schedules([oc.linear(0.0, 1.0, steps=2), oc.constant(0.5)], [2])
    >>> [float(lr(step)) for step in range(4)]
    [0.0, 0.5, 0.5, 0.5]
    """
    # Before its boundary a schedule is not used, but what it computes there must be finite for the gradient.
    values = [part(jnp.maximum(step - begin, 0)) for part, begin in zip(schedules, (0.0, *boundaries), strict=True)]
    return step_function(step, [jnp.asarray(value, jnp.float32) for value in values], boundaries)


@schedule(example={"schedule": cosine(0.1, 20), "factor": 0.5})
def scale_schedule(step, schedule: Rate, factor: Rate):
    r"""A schedule times a factor.

    .. math::
        \eta_t = c f(t)

    Args:
        schedule: :math:`f`, a function of the step, ours or any other's, or a finite number.
        factor: :math:`c`, any finite number, or a schedule again: the two are then multiplied.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.scale_schedule(oc.linear(1.0, 0.0, steps=4), factor=10.0)(2))
    5.0
    """
    return schedule * factor
