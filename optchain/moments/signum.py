"""Signum."""

import jax.numpy as jnp

from optchain.core.dense import lift
from optchain.core.numerics import decayed, ema
from optchain.core.rule import Decay, rule
from optchain.moments.lion import Mean


@rule
class Signum:
    r"""Steps by the sign of the running mean of the gradients.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \operatorname{sign}(\mu)

    Fields:
        beta: b, decay of the mean, in [0, 1).

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    References:
        Bernstein et al., 2018, Algorithm 2. https://arxiv.org/abs/1802.04434
    """

    beta: Decay = 0.9

    def init(self, p):
        return Mean(jnp.zeros_like(p))

    def sleep(self, s, k):
        return Mean(decayed(s.mu, self.beta, k))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.beta)
        return jnp.sign(mu), Mean(mu)


scale_by_signum = lift(Signum, "scale_by_signum")
