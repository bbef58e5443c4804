"""The equal average of the parameters."""

from typing import Annotated

import jax.numpy as jnp

from optchain.averaging.average import Average
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Range, Scalar
from optchain.core.rule import rule


@rule
class EqualAverage:
    r"""Leaves the update alone and keeps the mean of the parameters that it leads to, all with the same weight.

    .. math::
        u = g, \qquad a \leftarrow a + \frac{p + g - a}{n + 1} \quad\text{at the update } t = s + n k, \; n = 1, 2, ...

    It is the last link of a chain: the incoming update must be the step that is taken. `averaged_params` reads a. With
    the defaults it is Polyak averaging; with a start late in training and every k steps, at the ends of the cycles of
    a cyclic schedule, it is stochastic weight averaging (SWA).

    Fields:
        start: s, updates before the mean begins, at least 0; until then a is the parameter, and the one that stands
            there is the first sample. Rounded to a whole number.
        every: k, updates between two samples, at least 1; rounded to a whole number.

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: nothing; statistics of batch normalization must be computed again for the mean.

    References:
        Polyak and Juditsky, 1992, equation 6. doi:10.1137/0330046
        Izmailov et al., 2018, Algorithm 1 (SWA). https://arxiv.org/abs/1803.05407
    """

    start: NonNegative = 0.0
    every: Annotated[Scalar, Range("[1, inf)")] = 1.0

    needs_params = True

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Average(jnp.copy(p))

    def update(self, g, s, p, t):
        after, since, every = p + g, t - jnp.round(self.start), jnp.round(self.every)
        mean = s.average + (after - s.average) / (jnp.maximum(since, 0) / every + 1)
        due = jnp.mod(since, every) == 0
        return g, Average(jnp.where(since > 0, jnp.where(due, mean, s.average), after))


polyak_average = lift(EqualAverage, "polyak_average")
