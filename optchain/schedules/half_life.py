"""A decay whose memory grows steadily."""

from typing import Any

import jax.numpy as jnp

from optchain.core.numbers import Decay, Positive
from optchain.core.schedule import schedule
from optchain.core.seen import log_decay
from optchain.schedules.linear import ramp


@schedule(example={"start": 0.9, "end": 0.9999, "steps": 1000})
def linear_half_life(step, start: Decay, end: Decay, steps: Positive):
    r"""A decay between two others whose half-life, the steps in which a sample loses half its weight, is a line.

    .. math::
        b_t = \exp\left(\frac{1}{(1 - \tau) / \ln b_0 + \tau / \ln b_T}\right), \qquad \tau = \min((t + 1) / T, 1)

    Args:
        start: :math:`b_0`, in [0, 1).
        end: :math:`b_T`, in [0, 1), held afterwards.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the paper counts updates from 1, here steps count from 0, so that update number
    :math:`t + 1` is made with the paper's value for it, and only a schedule of one step has its end at step 0.

    References:
        Pagliardini, Ablin and Grangier, 2024, the scheduler of :math:`\beta_3`. https://arxiv.org/abs/2409.03137

    >>> import optchain as oc
    >>> [round(float(oc.linear_half_life(0.5, 0.5**0.25, steps=6)(step)), 4) for step in (0, 1, 5, 9)]
    [0.63, 0.7071, 0.8409, 0.8409]
    """
    passed = ramp(step + 1, steps)
    # 1 / ln b is 0 where nothing is remembered, and so is b there; the derivative of either is not defined.
    inverse = (1 - passed) * _inverse_log(start) + passed * _inverse_log(end)
    between = jnp.where(inverse < 0, jnp.exp(1 / jnp.where(inverse < 0, inverse, -1)), 0)
    return jnp.where(passed == 1, end, between)


def _inverse_log(b: Any) -> Any:
    if isinstance(b, float):
        return 1 / log_decay(b)
    return jnp.where(b > 0, 1 / jnp.log(jnp.where(b > 0, b, 0.5)), 0)
