"""Compensation of the delay of a stale gradient."""

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import LARGEST
from optchain.core.rule import rule


@rule
class DelayCompensation:
    r"""Adds to a stale gradient what it has likely changed by since, from its square and the way of the parameters.

    .. math::
        u = g + \lambda\, g^2 (\theta_t - \theta_{t - \tau})

    It is a Taylor step of the gradient, whose Hessian is taken for the diagonal of :math:`\lambda g g^T`. The
    parameters :math:`\theta_{t - \tau}` that the gradient was computed at are the extra argument `stale_params`, a tree
    like the parameters. `delayed` gives it to the links within it; a loop with real workers gives it to the update.
    A step that has none passes `stale_params=None`, and the update stays as it is. It comes first, for it reads the
    gradient as it was computed.

    Fields:
        strength: :math:`\lambda`, at least 0, in units of the inverse of the loss; 0.04 in the paper on CIFAR-10.

    Shapes and dtypes: any; what would be infinite is the largest finite number.

    Differs from the paper: nothing (DC-ASGD-c).

    References:
        Zheng et al., 2016, Algorithm 2 and equation 10. https://arxiv.org/abs/1609.08326

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay(0.04), oc.sgd(0.1)), 4)
    """

    strength: NonNegative = 0.04

    needs_params = True
    extras = ("stale_params",)

    def update(self, g, s, p, t, stale_params):
        return g if stale_params is None else compensated(g, g, self.strength * (p - stale_params)), s


def compensated(g: jax.Array, other: jax.Array, way: jax.Array) -> jax.Array:
    """The gradient with `g * other * way` added, at most the largest finite number where it is finite."""
    # In this order, so that where nothing has moved nothing is added, though the square may be infinite.
    return jnp.clip(g + other * (g * way), -LARGEST[g.dtype], LARGEST[g.dtype])


compensate_delay = lift(DelayCompensation, "compensate_delay")
