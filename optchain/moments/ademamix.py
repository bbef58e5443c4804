"""AdEMAMix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import DRIFT, SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule


class TwoMeans(NamedTuple):
    mu: jax.Array  # like p, fast running mean of g
    slow: jax.Array  # like p, slow running mean of g
    nu: jax.Array  # like p, running mean of g**2


@rule
class Ademamix:
    r"""Adam with a second mean of the gradients, that reaches back much further.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad m \leftarrow b_3 m + (1 - b_3) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t) + \alpha m}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    The paper warms up :math:`\alpha` and :math:`b_3` in T steps: `alpha=oc.linear(6.0 / T, 6.0, T - 1)` and
    `b3=oc.linear_half_life(0.9, 0.9999, T)`.

    Fields:
        b1: decay of the fast mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the slow mean, in [0, 1).
        alpha: :math:`\alpha`, weight of the slow mean, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu`, `slow` (m above) and `nu` are like the parameter, in float32 or wider. The
    link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: `eps_root`, absent there, is 0 by default; :math:`\alpha` is 5 in its Algorithm 1.

    References:
        Pagliardini, Ablin and Grangier, 2024, Algorithm 1. https://arxiv.org/abs/2409.03137
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    b3: Decay = 0.9999
    alpha: NonNegative = 6.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    kinds = {"mu": mean("b1"), "slow": DRIFT, "nu": SQUARE}

    def init(self, p):
        return TwoMeans(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t, seen):
        mu, slow, nu = ema(g, s.mu, self.b1), ema(g, s.slow, self.b3), ema(square(g), s.nu, self.b2)
        mixed, mean_square = mu / seen.b1 + self.alpha * slow, nu / seen.b2
        return over_root(mixed, mean_square, self.eps, eps_root=self.eps_root), TwoMeans(mu, slow, nu)


scale_by_ademamix = lift(Ademamix, "scale_by_ademamix")
