"""The running mean of the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.dense import lift
from optchain.core.numerics import ema, weight
from optchain.core.rule import Decay, NonNegative, Static, rule


class Average(NamedTuple):
    average: jax.Array  # like p, running mean of p + u


@rule
class ParameterAverage:
    r"""Leaves the update alone and keeps the running mean of the parameters that it leads to.

    .. math::
        u = g, \qquad a \leftarrow b a + (1 - b) (p + g)

    It is the last link of a chain: the incoming update must be the step that is taken. `averaged_params` reads a.

    Fields:
        decay: b, in [0, 1); about :math:`1 / (1 - b)` steps are averaged.
        debias: divide by the weight seen so far, so that the initial parameters have none; while fewer steps have been
            made than are averaged, it is nearly their plain mean.
        start: updates before the mean begins, at least 0 (tail averaging); until then a is the parameter.

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: the weights decay, where the paper gives all steps the same.

    References:
        Polyak and Juditsky, 1992, equation 6. doi:10.1137/0330046
    """

    decay: Decay = 0.999
    debias: Static[bool] = False
    start: NonNegative = 0.0

    needs_params = True

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Average(jnp.copy(p))

    def update(self, g, s, p, t):
        after = p + g
        if not self.debias:
            return g, Average(jnp.where(t > self.start, ema(after, s.average, self.decay), after))
        # The debiased mean itself is stored: each sample enters with its share in the weight that has been seen.
        share = (1 - self.decay) / weight(self.decay, jnp.maximum(t - self.start, 1))
        return g, Average(s.average + share * (after - s.average))


average_params = lift(ParameterAverage, "average_params")
