"""Lion."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Range, Static, checked
from optchain.core.numerics import ema, second_ema
from optchain.core.paths import nearest
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class FirstMoment(NamedTuple):
    mu: jax.Array  # like p, running mean of g


STEPS = {
    "hard": lambda c, beta: jnp.sign(c),
    "smooth": lambda c, beta: jnp.tanh(beta * c),
    "refined": lambda c, beta: jnp.clip(c, -1, 1),
}


@rule
class Lion(Sleeps):
    r"""Steps by the sign of an interpolated momentum.

    .. math::
        u = \operatorname{sign}(b_1 \mu + (1 - b_1) g), \qquad \mu \leftarrow b_2 \mu + (1 - b_2) g

    Fields:
        b1: weight of the momentum in the step, in [0, 1).
        b2: decay of the momentum, in [0, 1).
        mode: what the update is of the interpolated momentum c: `"hard"`, its sign; `"smooth"`,
            :math:`\tanh(\beta c)`; `"refined"`, c itself between -1 and 1 and its sign beyond.
        smooth_beta: :math:`\beta`, > 0, in the units of 1 / g; of the mode `"smooth"` alone.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Raises:
        ValueError: another mode, or a `smooth_beta` that is not positive.

    Differs from the paper: weight decay is a link of its own (`add_decayed_weights`); there is one mode, `"hard"`.

    References:
        Chen et al., 2023, Algorithm 2. https://arxiv.org/abs/2302.06675
    """

    b1: Decay = 0.9
    b2: Decay = 0.99
    _: KW_ONLY
    mode: Static[str] = "hard"
    smooth_beta: Static[float] = 1.0
    kinds = {"mu": mean("b2", least=8)}

    def init(self, p):
        checked("scale_by_lion", "smooth_beta", self.smooth_beta, Range("(0, inf)"))
        if self.mode not in STEPS:
            raise ValueError(f"scale_by_lion: there is no mode {self.mode!r}; {nearest(self.mode, STEPS)}")
        return FirstMoment(jnp.zeros_like(p))

    def sleep(self, s, k):
        return FirstMoment(decayed(s.mu, self.b2, k))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.b2)
        c = second_ema(g, s.mu, mu, self.b1, self.b2)
        return STEPS[self.mode](c, self.smooth_beta), FirstMoment(mu)


scale_by_lion = lift(Lion, "scale_by_lion")
