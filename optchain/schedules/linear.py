"""The linear schedule, and the interpolation from which others are made."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Positive, Rate
from optchain.core.schedule import schedule


@schedule(example={"start": 1.0, "end": 0.1, "steps": 10})
def linear(step, start: Rate, end: Rate, steps: Positive):
    r"""A straight line from one value to another, which is held.

    .. math::
        \eta_t = \eta_0 + (\eta_T - \eta_0) \min(t / T, 1)

    Args:
        start: :math:`\eta_0`, any finite number.
        end: :math:`\eta_T`, any finite number.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [float(oc.linear(1.0, 0.0, steps=4)(step)) for step in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """
    return mix(start, end, ramp(step, steps))


def ramp(step: jax.Array, steps: Any) -> jax.Array:
    """The fraction of `steps` that has passed, from 0 to 1; all of it where `steps` is 0."""
    # The inner where keeps 0/0 out of the gradient too.
    return jnp.where(step >= steps, 1.0, jnp.maximum(step, 0.0) / jnp.where(steps > 0, steps, 1.0))


def mix(start: Any, end: Any, fraction: jax.Array) -> jax.Array:
    """The value between two others, each reached exactly."""
    return start * (1 - fraction) + end * fraction
