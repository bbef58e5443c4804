"""Adan."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule


class Differences(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    delta: jax.Array  # like p, running mean of the differences of successive g
    nu: jax.Array  # like p, running mean square of g + b2 difference
    last: jax.Array  # like p, the last g


@rule
class Adan:
    r"""Adam with Nesterov momentum from the differences of successive gradients.

    .. math::
        d = g - g_{last}, \qquad \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \delta \leftarrow b_2 \delta + (1 - b_2) d, \qquad \nu \leftarrow b_3 \nu + (1 - b_3) (g + b_2 d)^2

        u = \frac{\mu / (1 - b_1^t) + b_2 \delta / (1 - b_2^t)}{\sqrt{\nu / (1 - b_3^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean difference, and its weight in the update, in [0, 1).
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu`, `delta`, `nu` and `last` are like the parameter, in float32 or wider. The
    link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: its :math:`\beta` are :math:`1 - b` here; the means begin at 0 and are debiased, as in the
    authors' program, instead of at the first gradient and its square; the decay of the parameters is a link of its own.
    optax weighs the differences with :math:`1 - b_2`, though its :math:`b_2` is :math:`1 - \beta_2`: by default 0.08
    instead of the paper's 0.92; its preset has an `eps_root` of 1e-8, a floor of 1e-4 under the gradients.

    References:
        Xie et al., 2022, Algorithm 1. https://arxiv.org/abs/2208.06677
    """

    b1: Mean = 0.98
    b2: Mean = 0.92
    b3: Mean = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    kinds = {"mu": mean("b1"), "delta": mean("b2"), "nu": SQUARE}

    def init(self, p):
        return Differences(*(jnp.zeros_like(p) for _ in Differences._fields))

    def update(self, g, s, p, t, seen):
        difference = jnp.where(t == 1, 0, g - s.last)
        mu, delta = ema(g, s.mu, self.b1), ema(difference, s.delta, self.b2)
        nu = ema(square(g + self.b2 * difference), s.nu, self.b3)
        ahead = mu / seen.b1 + self.b2 * delta / seen.b2
        u = over_root(ahead, nu / seen.b3, self.eps, eps_root=self.eps_root)
        return u, Differences(mu, delta, nu, g)


scale_by_adan = lift(Adan, "scale_by_adan")
