"""The schedule that needs no end: a power of the time."""

from typing import Annotated

import jax.numpy as jnp

from optchain.core.numbers import NonNegative, Positive, Range, Scalar
from optchain.core.schedule import schedule
from optchain.schedules.linear import ramp

Falling = Annotated[Scalar, Range("(-inf, 0]")]


@schedule(example={"peak": 0.3, "amplitude": 1.0, "exponent": -0.5, "warmup": 5})
def power_law(step, peak: Positive, amplitude: Positive, exponent: Falling, warmup: NonNegative = 0.0):
    r"""Linear warm-up, then a falling power of the time, at most the peak, without end.

    .. math::
        \eta_t = \begin{cases} \min(\eta, a\, t^b) & t \ge w \\ \min(\eta, a\, w^b)\, t / w & t < w \end{cases}

    In the paper the time t is the number of tokens seen, as `in_tokens` has it, and a is 4.6 times the batch size in
    sequences (of 4,096 tokens there), b is -0.51: with a in proportion to the batch size the same numbers do for any.
    With t in steps of n tokens and the same b, a is :math:`n^b` times as large. `cooldown` ends it, where it is to end.

    Args:
        peak: :math:`\eta`, the upper bound, positive; 0.02 in the paper.
        amplitude: a, the value at time 1 (one step, or one token) if there were no bound, positive.
        exponent: b, at most 0.
        warmup: :math:`w`, the length of the warm-up in the units of the time, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: a contains the batch size. Before step 1 the power is that of step 1.

    References:
        Shen et al., 2024, the Power scheduler. https://arxiv.org/abs/2408.13359

    >>> import optchain as oc
    >>> [float(oc.power_law(0.5, amplitude=2.0, exponent=-0.5, warmup=2)(step)) for step in (0, 1, 2, 16, 64)]
    [0.0, 0.25, 0.5, 0.5, 0.25]
    """
    return ramp(step, warmup) * jnp.minimum(peak, amplitude * jnp.maximum(jnp.maximum(step, warmup), 1.0) ** exponent)
