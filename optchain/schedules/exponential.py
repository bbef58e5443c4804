"""Exponential decay: by a factor, by a rate, and with restarts."""

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import NonNegative, Positive, Range, Rate, Scalar
from optchain.core.schedule import schedule
from optchain.schedules.piecewise import Steps, step_function, unordered

End = Annotated[Scalar | None, Range("(-inf, inf)")]


@schedule(example={"start": 0.1, "factor": 0.9})
def exponential(step, start: Rate, factor: Positive, every: Positive = 1.0, end: End = None):
    r"""Decay by a factor in a number of steps, smoothly.

    .. math::
        \eta_t = \max(\eta_0 \gamma^{t / n}, \eta_T)

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive; above 1 the value grows.
        every: :math:`n`, the steps in which the factor is applied once, positive.
        end: :math:`\eta_T`, any finite number: the least value, or with a factor above 1 the largest; None sets no
            bound.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> round(float(oc.exponential(1.0, factor=0.5, every=10)(20)), 6)
    0.25
    """
    return bounded(start * power(factor, step / every), factor, end)


@schedule(example={"start": 0.1, "rate": 0.05})
def natural_exponential(step, start: Rate, rate: NonNegative):
    r"""Decay at a constant rate.

    .. math::
        \eta_t = \eta_0 e^{-k t}

    Args:
        start: :math:`\eta_0`, any finite number.
        rate: :math:`k`, per step, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> round(float(oc.natural_exponential(1.0, rate=0.1)(10)), 4)
    0.3679
    """
    return start * jnp.exp(-rate * step)


def _how_often(period, resets, **others) -> str | None:
    if (period is None) == (not resets):
        return f"expected either a period or the steps of the resets, got period={period} and resets={resets}"
    return unordered("resets", resets)


@schedule(example={"start": 0.1, "factor": 0.9, "period": 10}, check=_how_often)
def exponential_with_resets(
    step,
    start: Rate,
    factor: Positive,
    every: Positive = 1.0,
    period: Annotated[Scalar | None, Range("(0, inf)")] = None,
    resets: Steps = (),
):
    r"""Exponential decay that restarts: after each period, or at given steps.

    .. math::
        \eta_t = \eta_0 \gamma^{(t - r) / n}

    where :math:`r` is the step of the last reset.

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive.
        every: :math:`n`, the steps in which the factor is applied once, positive.
        period: the steps from one reset to the next, positive; the first reset is at `period`.
        resets: the steps of the resets, at least 0, strictly rising; instead of `period`.

    Raises:
        ValueError: a constant outside its range, both or neither of `period` and `resets`, resets that do not rise.

    Differs from the paper: the restarts are those of SGDR (https://arxiv.org/abs/1608.03983), the decay is not.

    >>> import optchain as oc
    >>> [round(float(oc.exponential_with_resets(1.0, 0.5, resets=[2])(step)), 3) for step in (0, 1, 2, 3, 4)]
    [1.0, 0.5, 1.0, 0.5, 0.25]
    """
    if period is None:
        since = step - step_function(step, (0.0, *resets), resets)
    else:
        since = step - period * jnp.floor_divide(step, period)
    return start * power(factor, since / every)


def bounded(value: jax.Array, factor: Any, end: Any) -> jax.Array:
    """A value that falls or grows by factors, between its start and its end where there is one."""
    if end is None:
        return value
    return jnp.where(factor < 1, jnp.maximum(value, end), jnp.minimum(value, end))


def power(base: Any, exponent: jax.Array) -> jax.Array:
    """A power of a positive number."""
    # float32 holds 0.999 only to 3e-8, an error that grows with the exponent: a constant takes its logarithm in double.
    return jnp.exp(exponent * (math.log(base) if isinstance(base, float) else jnp.log(base)))
