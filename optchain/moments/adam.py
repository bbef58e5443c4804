"""Adam."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class Moments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of g**2


@rule
class Adam(Sleeps):
    r"""Divides the running mean of the gradients by the root of the running mean of their squares.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0; positive to differentiate through the update.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: `eps_root`, absent there, is 0 by default.

    References:
        Kingma and Ba, 2014, Algorithm 1. https://arxiv.org/abs/1412.6980
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return Moments(decayed(s.mu, self.b1, k), decayed(s.nu, self.b2, k))

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), ema(square(g), s.nu, self.b2)
        return over_root(mu / seen.b1, nu / seen.b2, self.eps, eps_root=self.eps_root), Moments(mu, nu)


scale_by_adam = lift(Adam, "scale_by_adam")
