"""Proximal steps for L1 and elastic net penalties."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.rule import rule


@rule
class ProximalElasticNet:
    r"""Takes the step of the learning rate and then the proximal step of an L1 and L2 penalty, which makes exact zeros.

    .. math::
        x = p - \eta g, \qquad
        u = \frac{\operatorname{sign}(x) \max(|x| - \eta \lambda_1, 0)}{1 + \eta \lambda_2} - p

    It stands in the place of `scale_by_learning_rate`, at the end of a chain, because the threshold is in the units of
    the parameter and moves with the rate. With `l2=0` it is the proximal step of the lasso.

    Fields:
        learning_rate: :math:`\eta`, at least 0.
        l1: :math:`\lambda_1`, weight of :math:`\sum |p|` in the loss, at least 0.
        l2: :math:`\lambda_2`, weight of :math:`\sum p^2 / 2` in the loss, at least 0.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. A parameter that the threshold
    stops gets the update -p, so that it is exactly 0 after `apply_updates`.

    Differs from the paper: after an adaptive link the proximal step stays Euclidean, it is not rescaled by the moments.

    References:
        Beck and Teboulle, 2009, equation 1.4 (ISTA). doi:10.1137/080716542
        Zou and Hastie, 2005, equation 3 (elastic net). doi:10.1111/j.1467-9868.2005.00503.x
    """

    learning_rate: NonNegative
    l1: NonNegative
    l2: NonNegative = 0.0

    needs_params = True
    example = {"learning_rate": 0.1, "l1": 0.01, "l2": 0.01}

    def update(self, g, s, p, t):
        x = p - self.learning_rate * g
        shrunk = jnp.sign(x) * jnp.maximum(jnp.abs(x) - self.learning_rate * self.l1, 0)
        return shrunk / (1 + self.learning_rate * self.l2) - p, s


proximal_elastic_net = lift(ProximalElasticNet, "proximal_elastic_net")
