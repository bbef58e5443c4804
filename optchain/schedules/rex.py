"""The reflected exponential schedule."""

from optchain.core.numbers import Positive, Rate
from optchain.core.schedule import schedule
from optchain.schedules.linear import mix, ramp


@schedule(example={"start": 0.1, "steps": 20})
def rex(step, start: Rate, steps: Positive, end: Rate = 0.0):
    r"""A fall that begins slowly and ends fast, from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) \frac{1 - x}{\tfrac{1}{2} + \tfrac{1}{2} (1 - x)}, \qquad x = \min(t / T, 1)

    Args:
        start: :math:`\eta_0`, any finite number.
        steps: :math:`T`, positive.
        end: :math:`\eta_T`, any finite number; 0 in the paper.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the value is sampled at every step.

    References:
        Chen, Wolfe and Kyrillidis, 2021, section 4 (REX). https://arxiv.org/abs/2107.04197

    >>> import optchain as oc
    >>> [round(float(oc.rex(1.0, steps=4)(step)), 4) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.8571, 0.6667, 0.0, 0.0]
    """
    left = 1 - ramp(step, steps)
    return mix(end, start, 2 * left / (1 + left))
