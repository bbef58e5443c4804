"""Simplified AdEMAMix."""

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.moments.adam import Moments


@rule
class SimplifiedAdemamix:
    r"""Divides a decaying sum of the gradients, and the last one once more, by their root mean square.

    .. math::
        \mu \leftarrow b_1 \mu + g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu + \alpha g}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the sum, in [0, 1). It is not normalized: a constant g grows by :math:`1 / (1 - b_1)`.
        b2: decay of the mean square, in [0, 1).
        alpha: :math:`\alpha`, weight of the last gradient, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that the mean of decay `b2` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers.

    Differs from the paper: `eps_root`, absent there, is 0 by default.

    References:
        Morwani et al., 2025, Simplified AdEMAMix. https://arxiv.org/abs/2502.02431
    """

    b1: Decay = 0.99
    b2: Mean = 0.95
    alpha: NonNegative = 0.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t, seen):
        mu, nu = self.b1 * s.mu + g, ema(square(g), s.nu, self.b2)
        return over_root(mu + self.alpha * g, nu / seen.b2, self.eps, eps_root=self.eps_root), Moments(mu, nu)


scale_by_simplified_ademamix = lift(SimplifiedAdemamix, "scale_by_simplified_ademamix")
