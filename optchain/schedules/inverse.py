"""Decay with the inverse of the time, or of its root."""

from typing import Annotated

import jax.numpy as jnp

from optchain.core.numbers import NonNegative, Positive, Range, Rate, Scalar
from optchain.core.schedule import schedule
from optchain.schedules.linear import ramp


@schedule(example={"start": 0.1, "rate": 0.5})
def inverse_time(step, start: Rate, rate: NonNegative, power: NonNegative = 1.0):
    r"""Decay with the inverse of the time, or a power of it.

    .. math::
        \eta_t = \frac{\eta_0}{(1 + k t)^a}

    Args:
        start: :math:`\eta_0`, any finite number.
        rate: :math:`k`, per step, at least 0.
        power: :math:`a`, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.inverse_time(1.0, rate=0.1)(10))
    0.5
    """
    return start / (1 + rate * step) ** power


@schedule(example={"peak": 0.1, "warmup": 10})
def inverse_sqrt(step, peak: Rate, warmup: Annotated[Scalar, Range("[1, inf)")]):
    r"""Linear warm-up, then decay with the inverse root of the time.

    .. math::
        \eta_t = \eta \min\left(\frac{t}{w}, \sqrt{\frac{w}{t}}\right)

    Args:
        peak: :math:`\eta`, reached at step `warmup`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 1.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: equation 3, with a peak that is given instead of one that follows from the width of the
    model, and with steps from 0, where the value is 0.

    References:
        Vaswani et al., 2017, equation 3. https://arxiv.org/abs/1706.03762

    >>> import optchain as oc
    >>> [float(oc.inverse_sqrt(1.0, warmup=4)(step)) for step in (0, 2, 4, 16)]
    [0.0, 0.5, 1.0, 0.5]
    """
    return peak * ramp(step, warmup) / jnp.sqrt(jnp.maximum(step / warmup, 1.0))


@schedule(example={"width": 64, "warmup": 10})
def noam(step, width: Positive, warmup: Positive, scale: Rate = 1.0):
    r"""The learning rate of the first Transformer: linear warm-up, then decay with the inverse root of the time.

    .. math::
        \eta_t = c\, d^{-1/2} \min\left((t + 1)^{-1/2}, (t + 1)\, w^{-3/2}\right)

    Args:
        width: :math:`d`, the features of the model, positive.
        warmup: :math:`w`, the updates of the warm-up, positive.
        scale: :math:`c`, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the paper counts updates from 1, here steps count from 0, so that update number
    :math:`t + 1` is made with the paper's value for it. The factor `scale` is 1 there.

    References:
        Vaswani et al., 2017, equation 3. https://arxiv.org/abs/1706.03762

    >>> import optchain as oc
    >>> round(float(oc.noam(width=512, warmup=4000)(3999)), 8)
    0.00069877
    """
    update = step + 1
    return scale * width**-0.5 * jnp.minimum(update**-0.5, update * warmup**-1.5)
