"""Sophia."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive
from optchain.core.numerics import ema
from optchain.core.rule import rule


class Curvature(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    h: jax.Array  # like p, running mean of the estimates of the Hessian's diagonal


@rule
class Sophia:
    r"""Divides the running mean of the gradients by that of the curvature, and clips the quotient.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad h \leftarrow b_2 h + (1 - b_2) \hat h, \qquad
        u = \mathrm{clip}\left(\frac{\mu}{\max(\gamma h, \epsilon)},\ -\rho,\ \rho\right)

    The estimate :math:`\hat h` of the Hessian's diagonal is the extra argument `hessian` of `update` and `oc.apply`, a
    tree like the gradients: of `oc.hutchinson` (Sophia-H) or, for a cross entropy, of `oc.gauss_newton_bartlett`
    (Sophia-G, with a gamma of 0.05). A step that has none passes `hessian=None`, and :math:`h` stays as it is; to give
    nothing is an error. Where :math:`h` is 0 or negative, as everywhere before the first estimate, the quotient is
    clipped: a step by the sign.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean curvature, for each estimate, in [0, 1).
        eps: the least divisor, in the units of h, positive.
        gamma: :math:`\gamma`, positive: the larger it is the fewer entries are clipped; 10 to 50 percent should not be.
        clip_threshold: :math:`\rho`, positive, in units of the learning rate.

    Shapes and dtypes: any; the slots `mu` and `h` are like the parameter, in float32 or wider.

    Differs from the paper: eps is 1e-12 and :math:`b_1` 0.96 there, 1e-8 and 0.965 here as in optax. optax debiases
    :math:`\mu` and divides by the h of the last step; pytorch_optimizer has no :math:`\gamma`, which scales the rate
    and the threshold.

    References:
        Liu et al., 2023, Algorithm 3. https://arxiv.org/abs/2305.14342
    """

    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: Positive = 1e-8
    gamma: Positive = 0.01
    clip_threshold: Positive = 1.0

    extras = ("hessian",)
    kinds = {"mu": mean("b1", least=8)}

    def init(self, p):
        return Curvature(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t, hessian):
        mu, h = ema(g, s.mu, self.b1), s.h if hessian is None else ema(hessian, s.h, self.b2)
        u = mu / jnp.maximum(self.gamma * h, self.eps)
        return jnp.clip(u, -self.clip_threshold, self.clip_threshold), Curvature(mu, h)


scale_by_sophia = lift(Sophia, "scale_by_sophia")
