"""The end of a schedule that has none."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from optchain.core.numbers import Positive, Rate
from optchain.core.schedule import known, schedule
from optchain.schedules.linear import linear, mix, ramp
from optchain.schedules.polynomial import risen


def _fit(base, total, decay, **others) -> str | None:
    if not callable(base):
        return f"base must be a schedule, got {base!r}; did you mean constant({base!r})?"
    if known(total, decay) and decay > total:
        return f"decay must be at most total, got {decay:g} and {total:g}"
    return None


@schedule(example={"base": linear(0.0, 0.1, 5), "total": 40, "decay": 20}, check=_fit)
def cooldown(
    step, base: Callable[[Any], Any], total: Positive, decay: Positive, end: Rate = 0.0, power: Positive = 1.0
):
    r"""Another schedule, whose last value is brought to the end in the last steps.

    .. math::
        \eta_t = \begin{cases} f(t) & t < T - D \\ \eta_T + (f(T - D) - \eta_T) (1 - x^p) & t \ge T - D \end{cases},
        \qquad x = \min((t - T + D) / D, 1)

    With `power=0.5` this is the 1-sqrt cooldown. The schedule before does not know the end: one run can be cooled down
    at several lengths.

    Args:
        base: :math:`f`, a function of the step, ours or any other's.
        total: :math:`T`, the step at which `end` is reached, positive.
        decay: :math:`D`, the steps of the decay, positive and at most `total`.
        end: :math:`\eta_T`, the value that is held from step `total` on, any finite number.
        power: :math:`p`, positive; 1 is linear, 0.5 falls fast at first.

    Raises:
        ValueError: a constant outside its range, a decay longer than the whole, a number in the place of a schedule.

    Differs from the paper: nothing.

    References:
        Hägele et al., 2024, section 3 (1-sqrt). https://arxiv.org/abs/2405.18392

    >>> import optchain as oc
    >>> lr = oc.cooldown(oc.constant(1.0), total=10, decay=4, power=0.5)
    >>> [float(lr(step)) for step in (0, 6, 7, 10)]
    [1.0, 1.0, 0.5, 0.0]
    """
    begin = jnp.maximum(total - decay, 0.0)
    held = jnp.asarray(base(jnp.minimum(step, begin)), jnp.float32)
    return mix(held, end, risen(ramp(step - begin, decay), power))
