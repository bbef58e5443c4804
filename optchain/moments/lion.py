"""Lion."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Decay
from optchain.core.numerics import ema, second_ema
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class FirstMoment(NamedTuple):
    mu: jax.Array  # like p, running mean of g


@rule
class Lion(Sleeps):
    r"""Steps by the sign of an interpolated momentum.

    .. math::
        u = \operatorname{sign}(b_1 \mu + (1 - b_1) g), \qquad \mu \leftarrow b_2 \mu + (1 - b_2) g

    Fields:
        b1: weight of the momentum in the step, in [0, 1).
        b2: decay of the momentum, in [0, 1).

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Differs from the paper: weight decay is a link of its own (`add_decayed_weights`).

    References:
        Chen et al., 2023, Algorithm 2. https://arxiv.org/abs/2302.06675
    """

    b1: Decay = 0.9
    b2: Decay = 0.99

    def init(self, p):
        return FirstMoment(jnp.zeros_like(p))

    def sleep(self, s, k):
        return FirstMoment(decayed(s.mu, self.b2, k))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.b2)
        return jnp.sign(second_ema(g, s.mu, mu, self.b1, self.b2)), FirstMoment(mu)


scale_by_lion = lift(Lion, "scale_by_lion")
