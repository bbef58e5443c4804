"""The polynomial schedule."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Positive, Rate
from optchain.core.schedule import schedule
from optchain.schedules.linear import mix, ramp


@schedule(example={"start": 1.0, "end": 0.1, "power": 2.0, "steps": 10})
def polynomial(step, start: Rate, end: Rate, power: Positive, steps: Positive):
    r"""A power of the steps that remain, from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) (1 - \min(t / T, 1))^p

    Args:
        start: :math:`\eta_0`, any finite number.
        end: :math:`\eta_T`, any finite number.
        power: :math:`p`, positive; 1 is linear.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.polynomial(1.0, 0.0, power=2, steps=4)(2))
    0.25
    """
    return mix(end, start, risen(1 - ramp(step, steps), power))


def risen(fraction: jax.Array, power: Any) -> jax.Array:
    """A power of a fraction, from 0 to 1."""
    # The derivative of a root is infinite at 0: the power is taken only of what is positive.
    return jnp.where(fraction > 0, jnp.where(fraction > 0, fraction, 1.0) ** power, 0.0)
