"""ACProp."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Mean, NonNegative
from optchain.core.numerics import ema, quotient, sqrt, square
from optchain.core.rule import rule


class WeightedMoments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of (g - mu)**2
    weight: jax.Array  # scalar, the weight that nu has seen


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

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, `weight`, what the last `nu` had seen, is
    one number for the leaf, in float32 or wider. The link keeps the weight that the mean of decay `b2` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: debiased, and both eps are one number there. optax takes the deviation from the old mean,
    which is :math:`1 / b_1` times as large.

    References:
        Zhuang et al., 2021, algorithm ACProp. https://arxiv.org/abs/2110.05454
    """

    b1: Decay = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return WeightedMoments(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros((), p.dtype))

    def axes(self, p):
        return {"weight": ()}

    def update(self, g, s, p, t, seen):
        variance = jnp.where(t == 1, 1.0, s.nu / jnp.where(t == 1, 1.0, s.weight))
        mu = ema(g, s.mu, self.b1)
        nu = self.b2 * s.nu + self.eps_root + (1 - self.b2) * square(g - mu)
        return quotient(g, sqrt(variance) + self.eps), WeightedMoments(mu, nu, seen.b2)


scale_by_acprop = lift(Acprop, "scale_by_acprop")
