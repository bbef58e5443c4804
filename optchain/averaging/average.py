"""The running mean of the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative, Static
from optchain.core.numerics import ema
from optchain.core.rule import rule
from optchain.core.seen import nothing_seen, with_sample


class Average(NamedTuple):
    average: jax.Array  # like p, running mean of p + u


class WeightedAverage(NamedTuple):
    """A mean that begins later than its link, with the weight that it has seen, see `optchain.core.seen`."""

    average: jax.Array  # like p, running mean of p + u over its weight
    log: jax.Array  # scalar, the logarithm of the weight that is missing
    lost: jax.Array  # scalar, what the rounding of `log` lost


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

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy; debiased, a leaf also keeps
    the weight that its mean has seen, :math:`1 - \prod b` since its start, as the numbers `log` and `lost`. All are in
    float32 or wider. It reads the parameters: `update` without them is an error.

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
        copy = jnp.copy(p)
        return WeightedAverage(copy, **nothing_seen(p.dtype)) if self.debias else Average(copy)

    def update(self, g, s, p, t):
        after, begun = p + g, t > self.start
        if not self.debias:
            return g, Average(jnp.where(begun, ema(after, s.average, self.decay), after))
        new, weight = with_sample({"log": s.log, "lost": s.lost}, self.decay)
        seen = {name: jnp.where(begun, new[name], 0) for name in new}
        # The debiased mean itself is stored: each sample enters with its share in the weight that has been seen.
        share = jnp.where(begun, (1 - self.decay) / weight, 1)
        return g, WeightedAverage(s.average + share * (after - s.average), **seen)


average_params = lift(ParameterAverage, "average_params")
