"""ACProp."""

import jax.numpy as jnp

from optchain.core.dense import lift
from optchain.core.numerics import debias, ema, over_root
from optchain.core.rule import Decay, NonNegative, rule
from optchain.moments.adam import Moments


@rule
class Acprop:
    r"""Divides the gradient by how far the gradients before it were from their running mean.

    .. math::
        u = \frac{g}{\sqrt{\nu / (1 - b_2^{t-1})} + \epsilon}, \qquad
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) (g - \mu)^2 + \epsilon_{root}

    The first gradient, before which there is none, is divided by :math:`1 + \epsilon`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider.

    Differs from the paper: debiased, and both eps are one number there. optax takes the deviation from the old mean,
    which is :math:`1 / b_1` times as large.

    References:
        Zhuang et al., 2021, algorithm ACProp. https://arxiv.org/abs/2110.05454
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t):
        square = jnp.where(t == 1, 1.0, debias(s.nu, self.b2, jnp.maximum(t - 1, 1)))
        mu = ema(g, s.mu, self.b1)
        nu = self.b2 * s.nu + self.eps_root + (1 - self.b2) * (g - mu) ** 2
        return over_root(g, square, self.eps, eps_in_sqrt=False), Moments(mu, nu)


scale_by_acprop = lift(Acprop, "scale_by_acprop")
