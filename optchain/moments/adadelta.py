"""Adadelta."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SUM
from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative
from optchain.core.numerics import ema, quotient, sqrt, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class Squares(NamedTuple):
    e_g: jax.Array  # like p, running mean of g**2
    e_x: jax.Array  # like p, running mean of u**2


@rule
class Adadelta(Sleeps):
    r"""Divides the update by its running root mean square, and multiplies it by that of the updates made so far.

    .. math::
        E_g \leftarrow \rho E_g + (1 - \rho) g^2, \qquad
        u = \sqrt{\frac{E_x + \epsilon}{E_g + \epsilon}}\, g, \qquad E_x \leftarrow \rho E_x + (1 - \rho) u^2

    Fields:
        rho: decay of both mean squares, in [0, 1).
        eps: added inside both roots, in the units of g**2 and of u**2, at least 0; with 0 nothing ever moves.

    Shapes and dtypes: any; the slots `e_g` and `e_x` are like the parameter, in float32 or wider.

    Differs from the paper: nothing; the update is in the units of the parameter, so that its learning rate is 1.

    References:
        Zeiler, 2012, Algorithm 1. https://arxiv.org/abs/1212.5701
    """

    rho: Decay = 0.9
    eps: NonNegative = 1e-6
    # Like sums, of at least 8 bits: the updates make e_x and e_x the updates, and with the errors of 4 bits both grow
    # without bound.
    kinds = {"e_g": SUM, "e_x": SUM}

    def init(self, p):
        return Squares(jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return Squares(decayed(s.e_g, self.rho, k), decayed(s.e_x, self.rho, k))

    def update(self, g, s, p, t):
        g_square = square(g)
        e_g = ema(g_square, s.e_g, self.rho)
        divisor = e_g + self.eps
        e_x = ema(quotient(g_square * (s.e_x + self.eps), divisor), s.e_x, self.rho)
        # The same update from the new E_x, solved for the old one: if it read the old, XLA would copy that.
        divisor = self.rho * divisor + (1 - self.rho) * g_square
        return g * sqrt(quotient(e_x + self.rho * self.eps, divisor)), Squares(e_g, e_x)


scale_by_adadelta = lift(Adadelta, "scale_by_adadelta")
