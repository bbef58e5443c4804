"""Warm-up, stable, decay."""

import jax.numpy as jnp

from optchain.core.numbers import NonNegative, Positive, Rate
from optchain.core.schedule import known, schedule
from optchain.schedules.linear import mix, ramp
from optchain.schedules.polynomial import risen


def _fit(warmup, total, decay, **others) -> str | None:
    if known(warmup, total, decay) and warmup + decay > total:
        return f"warmup + decay must be at most total, got {warmup:g} + {decay:g} and {total:g}"
    return None


@schedule(example={"peak": 0.1, "warmup": 5, "total": 30, "decay": 10}, check=_fit)
def wsd(
    step,
    peak: Rate,
    warmup: NonNegative,
    total: Positive,
    decay: Positive,
    end: Rate = 0.0,
    power: Positive = 1.0,
):
    r"""Linear warm-up to the peak, which is held until the last steps, then decay to the end.

    .. math::
        \eta_t = \begin{cases}
        \eta\, t / w & t < w \\
        \eta & w \le t < T - D \\
        \eta + (\eta_T - \eta) \min((t - T + D) / D, 1)^p & t \ge T - D
        \end{cases}

    Args:
        peak: :math:`\eta`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 0.
        total: :math:`T`, the step at which `end` is reached, warm-up included, positive.
        decay: :math:`D`, the steps of the decay, positive; `warmup + decay` is at most `total`.
        end: :math:`\eta_T`, the value that is held from step `total` on, any finite number.
        power: :math:`p`, positive; 1 is linear, 0.5 is the 1-sqrt cooldown.

    Raises:
        ValueError: a constant outside its range, a warm-up and a decay that together are longer than the whole.

    Differs from the paper: the decay of the first is any falling function, often exponential.

    References:
        Hu et al., 2024, section 4. https://arxiv.org/abs/2404.06395
        Hägele et al., 2024, section 3 (1-sqrt). https://arxiv.org/abs/2405.18392

    >>> import optchain as oc
    >>> lr = oc.wsd(peak=1.0, warmup=2, total=10, decay=4)
    >>> [float(lr(step)) for step in (0, 1, 2, 6, 8, 10, 11)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    fallen = risen(ramp(step - (total - decay), decay), power)
    return jnp.where(step < warmup, peak * ramp(step, warmup), mix(peak, end, fallen))
