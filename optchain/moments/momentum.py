"""Heavy-ball and Nesterov momentum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Static
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class Velocity(NamedTuple):
    trace: jax.Array  # like p, decaying sum of g


@rule
class Momentum(Sleeps):
    r"""Replaces the update by a decaying sum of all updates so far.

    .. math::
        m \leftarrow g + b m, \qquad u = m \quad\text{(heavy ball)}, \qquad u = g + b m \quad\text{(Nesterov)}

    Fields:
        decay: :math:`b`, in [0, 1). The sum is not normalized: a constant g grows by :math:`1 / (1 - b)`.
        nesterov: look ahead by one step.

    Shapes and dtypes: any; the slot `trace` (m above) is like the parameter, in float32 or wider.

    Differs from the paper: the learning rate multiplies the sum, not each term; equal where the rate is constant.

    References:
        Polyak, 1964, equation 9. doi:10.1016/0041-5553(64)90137-5
        Sutskever et al., 2013, equations 3 and 4. Proceedings of ICML, PMLR 28(3):1139-1147
    """

    decay: Decay
    nesterov: Static[bool] = False

    kinds = {"trace": mean("decay")}
    example = {"decay": 0.9}

    def init(self, p):
        return Velocity(jnp.zeros_like(p))

    def sleep(self, s, k):
        return Velocity(decayed(s.trace, self.decay, k))

    def update(self, g, s, p, t):
        trace = g + self.decay * s.trace
        return (g + self.decay * trace if self.nesterov else trace), Velocity(trace)


trace = lift(Momentum, "trace")
