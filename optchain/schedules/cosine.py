"""Half a cosine: once, with restarts, and after a warm-up."""

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import NonNegative, Positive, Range, Rate, Scalar
from optchain.core.schedule import known, schedule
from optchain.schedules.linear import mix, ramp
from optchain.schedules.polynomial import risen


@schedule(example={"start": 0.1, "steps": 20})
def cosine(step, start: Rate, steps: Positive, end: Rate = 0.0, exponent: Positive = 1.0):
    r"""Half a cosine from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) \left(\tfrac{1}{2} + \tfrac{1}{2} \cos(\pi \min(t / T, 1))\right)^p

    Args:
        start: :math:`\eta_0`, any finite number.
        steps: :math:`T`, positive.
        end: :math:`\eta_T`, any finite number.
        exponent: p, positive; above 1 the value falls earlier.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: one cycle, after which the value is held; p is 1 there.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> [round(float(oc.cosine(1.0, steps=4)(step)), 4) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.8536, 0.5, 0.0, 0.0]
    """
    return mix(end, start, risen(fall(ramp(step, steps)), exponent))


@schedule(example={"peak": 0.1, "period": 7, "growth": 2.0})
def cosine_restarts(
    step, peak: Rate, period: Positive, growth: Annotated[Scalar, Range("[1, inf)")] = 1.0, end: Rate = 0.0
):
    r"""Half a cosine from the peak to the end, again and again, in cycles that may grow longer.

    .. math::
        \eta_t = \eta_T + \tfrac{1}{2} (\eta_0 - \eta_T) \left(1 + \cos\left(\pi \frac{t - s_i}{T m^i}\right)\right),
        \qquad s_i = T \frac{m^i - 1}{m - 1} \le t < s_{i+1}

    Args:
        peak: :math:`\eta_0`, the value at the start of each cycle, any finite number.
        period: :math:`T`, the steps of the first cycle, positive.
        growth: :math:`m`, the length of each cycle over that of the one before, at least 1. The derivative with respect
            to it is 0 where it is exactly 1.
        end: :math:`\eta_T`, the value that each cycle approaches, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: a cycle begins at the whole step nearest to :math:`s_i`, which is :math:`s_i` itself where
    period and growth are whole numbers.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> [round(float(oc.cosine_restarts(1.0, period=2, growth=2)(step)), 4) for step in range(7)]
    [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 1.0]
    """
    # Where all cycles are alike, 1e-20 stands in for the excess, so that the branch not taken stays finite.
    constant, alike = isinstance(growth, float), growth == 1
    excess = growth - 1 or 1e-20 if constant else jnp.where(alike, 1e-20, growth - 1)
    log_growth = math.log1p(excess) if constant else jnp.log1p(excess)

    def begin(cycle: jax.Array) -> jax.Array:
        return period * jnp.where(alike, cycle, jnp.expm1(cycle * log_growth) / excess)

    # Half a step is far more than the error of these sums: one cycle too few or too many is then put right.
    now = jax.lax.stop_gradient(step + 0.5)
    passed = jnp.where(alike, now / period, jnp.log1p(now * excess / period) / log_growth)
    cycle = jax.lax.stop_gradient(jnp.floor(passed))
    cycle = jnp.where(now >= begin(cycle + 1), cycle + 1, jnp.where(now < begin(cycle), cycle - 1, cycle))
    return mix(end, peak, fall(ramp(step - begin(cycle), begin(cycle + 1) - begin(cycle))))


def _fit(warmup, total, **others) -> str | None:
    if known(warmup, total) and warmup >= total:
        return f"warmup must be less than total, got warmup={warmup:g} and total={total:g}"
    return None


@schedule(example={"peak": 0.1, "warmup": 5, "total": 25}, check=_fit)
def warmup_cosine(
    step,
    peak: Rate,
    warmup: NonNegative,
    total: Positive,
    start: Rate = 0.0,
    end: Rate = 0.0,
    exponent: Positive = 1.0,
):
    r"""Linear warm-up to the peak, then half a cosine to the end, which is held.

    .. math::
        \eta_t = \begin{cases}
        \eta_0 + (\eta - \eta_0)\, t / w & t < w \\
        \eta_T + (\eta - \eta_T) \left(\tfrac{1}{2} + \tfrac{1}{2} \cos(\pi \min((t - w) / (T - w), 1))\right)^p
        & t \ge w
        \end{cases}

    Args:
        peak: :math:`\eta`, reached at step `warmup`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 0 and less than `total`.
        total: :math:`T`, the step at which `end` is reached, warm-up included, positive.
        start: :math:`\eta_0`, the value at step 0 where there is a warm-up, any finite number.
        end: :math:`\eta_T`, any finite number.
        exponent: p, positive; above 1 the value falls earlier.

    Raises:
        ValueError: a constant outside its range, a warm-up that leaves no step for the fall.

    Differs from the paper: one cycle, after a warm-up; p is 1 there.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> lr = oc.warmup_cosine(peak=1.0, warmup=2, total=6)
    >>> [round(float(lr(step)), 4) for step in (0, 1, 2, 4, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """
    decay = mix(end, peak, risen(fall(ramp(step - warmup, total - warmup)), exponent))
    return jnp.where(step < warmup, mix(start, peak, ramp(step, warmup)), decay)


def fall(fraction: Any) -> jax.Array:
    """Half a cosine, from 1 to 0."""
    # (1 + cos x)/2 = sin((pi - x)/2)**2: here the small values near the end keep their relative precision.
    return jnp.sin(math.pi / 2 * (1 - fraction)) ** 2
