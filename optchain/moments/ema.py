"""The running mean of the updates."""

import jax.numpy as jnp

from optchain.core import numerics
from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, Static
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.lion import FirstMoment


@rule
class Ema(Sleeps):
    r"""Replaces the update by the exponential moving average of all updates so far.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \frac{\mu}{1 - b^t} \quad\text{or}\quad u = \mu

    Fields:
        decay: b, in [0, 1); about :math:`1 / (1 - b)` updates are averaged.
        debias: divide by the weight :math:`1 - b^t` that the average has seen.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider. The link keeps the weight that the
    mean of decay `decay` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: nothing; debiased it is the numerator of Adam.

    References:
        Kingma and Ba, 2014, Algorithm 1. https://arxiv.org/abs/1412.6980
    """

    decay: Mean
    debias: Static[bool] = True

    kinds = {"mu": mean("decay")}
    example = {"decay": 0.9}

    def init(self, p):
        return FirstMoment(jnp.zeros_like(p))

    def sleep(self, s, k):
        return FirstMoment(decayed(s.mu, self.decay, k))

    def update(self, g, s, p, t, seen):
        mu = numerics.ema(g, s.mu, self.decay)
        return (mu / seen.decay if self.debias else mu), FirstMoment(mu)


ema = lift(Ema, "ema")
