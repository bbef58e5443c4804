"""Follow the regularized leader, proximal."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import DRIFT, SUM
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive
from optchain.core.numerics import root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


class Leader(NamedTuple):
    z: jax.Array  # like p, sum of g minus what the rates so far make of p
    n: jax.Array  # like p, sum of g**2


@rule
class Ftrl(Rests):
    r"""Moves the parameter to where the sum of all linearized losses so far, with an L1 and L2 penalty, is least.

    .. math::
        \sigma = \frac{\sqrt{n + g^2} - \sqrt n}{\alpha}, \qquad z \leftarrow z + g - \sigma p, \qquad
        n \leftarrow n + g^2

    .. math::
        u = \begin{cases} -p & |z| \le \lambda_1 \\
        - \dfrac{z - \operatorname{sign}(z) \lambda_1}{(\beta + \sqrt n) / \alpha + \lambda_2} - p & \text{else}
        \end{cases}

    It stands in the place of `scale_by_learning_rate`, at the end of a chain. Entries that have seen no gradient stay
    where they began; with `l1` they become exact zeros, which is why it serves linear models of very many features.

    Fields:
        learning_rate: :math:`\alpha`, > 0.
        beta: :math:`\beta`, smooths the rate at first, in the units of g, at least 0.
        l1: :math:`\lambda_1`, weight of :math:`\sum |p|`, at least 0.
        l2: :math:`\lambda_2`, weight of :math:`\sum p^2 / 2`, at least 0.

    Shapes and dtypes: any; the slots `z` and `n` are like the parameter, in float32 or wider. It reads the parameters:
    `update` without them is an error.

    Differs from the paper: there parameters begin at 0; here z begins so that the formula gives the parameter that is
    there. An entry without a gradient is left alone, which with a constant rate follows from the formula.

    References:
        McMahan et al., 2013, Algorithm 1. doi:10.1145/2487575.2488200
    """

    learning_rate: Positive
    beta: NonNegative = 1.0
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0

    needs_params = True
    kinds = {"z": DRIFT, "n": SUM}
    example = {"learning_rate": 0.1, "l1": 0.01, "l2": 0.01}

    def init(self, p):
        # At n = 0 the divisor is beta / alpha + l2: this z leads to p.
        return Leader(-p * (self.beta / self.learning_rate + self.l2) - jnp.sign(p) * self.l1, jnp.zeros_like(p))

    def update(self, g, s, p, t):
        g_square = square(g)
        n = s.n + g_square
        # The difference of the roots without cancellation.
        sigma = g_square / (root(n) + root(s.n)) / self.learning_rate
        z = s.z + g - sigma * p
        divisor = (self.beta + root(n)) / self.learning_rate + self.l2
        shrunk = jnp.sign(z) * jnp.maximum(jnp.abs(z) - self.l1, 0)
        new = -shrunk / jnp.where(divisor == 0, 1, divisor)
        return jnp.where(g == 0, 0, new - p), Leader(z, n)


ftrl = lift(Ftrl, "ftrl")
