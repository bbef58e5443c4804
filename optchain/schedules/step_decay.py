"""Decay in steps."""

import jax.numpy as jnp

from optchain.core.numbers import Positive, Rate
from optchain.core.schedule import schedule
from optchain.schedules.exponential import End, bounded, power


@schedule(example={"start": 0.1, "factor": 0.5, "every": 7})
def step_decay(step, start: Rate, factor: Positive, every: Positive, end: End = None):
    r"""Decay by a factor at once, after every so many steps.

    .. math::
        \eta_t = \max(\eta_0 \gamma^{\lfloor t / n \rfloor}, \eta_T)

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive.
        every: :math:`n`, the steps from one decay to the next, positive.
        end: :math:`\eta_T`, any finite number: the least value, or with a factor above 1 the largest; None sets no
            bound.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [round(float(oc.step_decay(1.0, factor=0.5, every=10)(step)), 6) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    # XLA turns the division by a constant into a product, and 41 * (1/41) lies below 1: floor_divide is exact.
    return bounded(start * power(factor, jnp.floor_divide(step, every)), factor, end)
