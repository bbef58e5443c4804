"""AdaBelief."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import ema, quotient, sqrt, square
from optchain.core.rule import rule
from optchain.moments.adam import Moments
from optchain.moments.nadam import ahead


@rule
class AdaBelief:
    r"""Divides the running mean of the gradients by how far the gradients are from it.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) (g - \mu)^2 + \epsilon_{root}, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t)} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: both eps are one number there.

    References:
        Zhuang et al., 2020, Algorithm 2. https://arxiv.org/abs/2010.07468
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    _: KW_ONLY
    nesterov: Static[bool] = False
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t, seen):
        mu = ema(g, s.mu, self.b1)
        # eps_root is not added last: XLA would read the old average once more, and copy it, to save one addition.
        nu = self.b2 * s.nu + self.eps_root + (1 - self.b2) * square(g - mu)
        mean = ahead(g, mu, seen.b1, 1 - self.b1, 1 - self.b1) if self.nesterov else mu / seen.b1
        return quotient(mean, sqrt(nu / seen.b2) + self.eps), Moments(mu, nu)


scale_by_belief = lift(AdaBelief, "scale_by_belief")
