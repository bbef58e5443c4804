"""Centered RMSProp."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import LARGEST, ema, quotient, sqrt, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.adam import Moments


@rule
class StdDev(Sleeps):
    r"""Divides the update by its running standard deviation.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = \frac{g}{\sqrt{\nu - \mu^2 + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{\nu - \mu^2} + \epsilon}

    Fields:
        decay: b, in [0, 1).
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        initial_scale: :math:`\nu` before the first update, in the units of g**2, at least 0.
        eps_in_sqrt: add eps inside the root, or to the root.
        bias_correction: divide both means by :math:`1 - b^t`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. Where rounding makes
    the variance negative it counts as 0. The link keeps the weight that the mean of decay `decay` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: the momentum of its equation 40 is a link of its own (`trace`); eps is 1e-4 there.

    References:
        Graves, 2013, equations 38 to 40. https://arxiv.org/abs/1308.0850
    """

    decay: Mean = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: Static[bool] = True
    bias_correction: Static[bool] = False

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.full_like(p, self.initial_scale))

    def sleep(self, s, k):
        return Moments(decayed(s.mu, self.decay, k), decayed(s.nu, self.decay, k))

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.decay), ema(square(g), s.nu, self.decay)
        mean, mean_square = (mu / seen.decay, nu / seen.decay) if self.bias_correction else (mu, nu)
        squared = square(mean)
        # A square that is bounded, and not a mean of squares, is no part of them.
        variance = jnp.maximum(mean_square - jnp.where(squared < LARGEST[g.dtype], squared, 0), 0)
        divisor = sqrt(variance + self.eps) if self.eps_in_sqrt else sqrt(variance) + self.eps
        return quotient(g, divisor), Moments(mu, nu)


scale_by_stddev = lift(StdDev, "scale_by_stddev")
