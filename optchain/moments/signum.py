"""Signum."""

import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay
from optchain.core.numerics import ema
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.lion import FirstMoment


@rule
class Signum(Sleeps):
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
    kinds = {"mu": mean("beta", least=8)}

    def init(self, p):
        return FirstMoment(jnp.zeros_like(p))

    def sleep(self, s, k):
        return FirstMoment(decayed(s.mu, self.beta, k))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.beta)
        return jnp.sign(mu), FirstMoment(mu)


scale_by_signum = lift(Signum, "scale_by_signum")
