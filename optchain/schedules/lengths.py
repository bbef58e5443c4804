"""Schedules whose lengths are not in steps: in fractions of a run, or in tokens."""

from collections.abc import Callable
from typing import Any

from optchain.core.numbers import Positive
from optchain.core.schedule import schedule
from optchain.schedules.piecewise import piecewise


def _fit(base, **others) -> str | None:
    if not callable(base):
        return f"base must be a schedule, got {base!r}; did you mean constant({base!r})?"
    return None


@schedule(example={"base": piecewise((0.1, 0.01), (0.5,)), "total": 40}, check=_fit)
def in_fractions(step, base: Callable[[Any], Any], total: Positive):
    r"""A schedule whose lengths are fractions of a run.

    .. math::
        \eta_t = f(t / T)

    Args:
        base: :math:`f`, a schedule for a run of length 1: `wsd(peak=1e-3, warmup=0.1, total=1.0, decay=0.2)`.
        total: :math:`T`, the steps of the run, positive.

    Raises:
        ValueError: a constant outside its range, a number in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.in_fractions(oc.wsd(peak=1.0, warmup=0.1, total=1.0, decay=0.2), total=1000)
    >>> [round(float(lr(step)), 4) for step in (0, 50, 100, 800, 900, 1000)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return base(step / total)


@schedule(example={"base": piecewise((0.1, 0.01), (2000,)), "tokens_per_step": 128}, check=_fit)
def in_tokens(step, base: Callable[[Any], Any], tokens_per_step: Positive):
    r"""A schedule whose lengths are in tokens, or in examples.

    .. math::
        \eta_t = f(n t)

    Args:
        base: :math:`f`, a schedule that counts tokens: `cosine(1e-3, steps=10e9)`.
        tokens_per_step: :math:`n`, those of one update, all devices and micro-batches together, positive.

    Raises:
        ValueError: a constant outside its range, a number in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.in_tokens(oc.linear(1.0, 0.0, steps=4e9), tokens_per_step=1e6)
    >>> [float(lr(step)) for step in (0, 1000, 4000)]
    [1.0, 0.75, 0.0]
    """
    return base(step * tokens_per_step)
