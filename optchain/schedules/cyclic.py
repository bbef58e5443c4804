"""Cyclical learning rates."""

from typing import Annotated

import jax.numpy as jnp

from optchain.core.numbers import Positive, Range, Rate, Scalar
from optchain.core.schedule import schedule
from optchain.schedules.exponential import power

Shrink = Annotated[Scalar, Range("(0, 1]")]


@schedule(example={"low": 0.01, "high": 0.1, "half_period": 4, "shrink": 0.5, "gamma": 0.99})
def triangular(step, low: Rate, high: Rate, half_period: Positive, shrink: Shrink = 1.0, gamma: Shrink = 1.0):
    r"""Up and down between two values along straight lines, again and again, with an amplitude that may shrink.

    .. math::
        \eta_t = l + (h - l)\, \rho^c \gamma^t \left(1 - \left|\frac{t}{n} - 2 c - 1\right|\right), \qquad
        c = \left\lfloor \frac{t}{2 n} \right\rfloor

    The paper's policies: `triangular` is the default, `triangular2` has ``shrink=0.5``, `exp_range` has a `gamma`.

    Args:
        low: :math:`l`, the value at the start and end of each cycle, any finite number.
        high: :math:`h`, the value amid the first cycle, any finite number, above or below `low`.
        half_period: :math:`n`, the steps from low to high, positive.
        shrink: :math:`\rho`, the amplitude of each cycle over that of the one before, in (0, 1].
        gamma: :math:`\gamma`, the amplitude at each step over that at the step before, in (0, 1].

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: in its `exp_range` the text lets both bounds decay; here, as is usual in
    code, the amplitude does.

    References:
        Smith, 2015, section 3. https://arxiv.org/abs/1506.01186

    >>> import optchain as oc
    >>> [float(oc.triangular(0.0, 1.0, half_period=2, shrink=0.5)(step)) for step in range(7)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5]
    """
    cycle = jnp.floor_divide(step, 2 * half_period)
    height = 1 - jnp.abs((step - 2 * half_period * cycle) / half_period - 1)
    return low + (high - low) * power(shrink, cycle) * power(gamma, step) * height
