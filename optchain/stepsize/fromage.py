"""Fromage: the step of a fixed fraction of each leaf's norm."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import norm, ratio
from optchain.core.rule import rule


@rule
class FromageStep:
    r"""Takes a step of a fraction of the parameter's norm, and shrinks the result so that norms do not grow.

    .. math::
        u = \frac{1}{\sqrt{1 + \eta^2}} \left(p - \eta \frac{\lVert p \rVert}{\lVert g \rVert} g\right) - p

    It stands in the place of `scale_by_learning_rate`. The ratio is 1 where either norm is 0.

    Fields:
        learning_rate: :math:`\eta`, the step over the norm of the parameter, at least 0; 0.01 in the paper.
        min_norm: the least that either norm counts for, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing; what is done where a norm is 0 is that of its authors' code. `min_norm` is
    that of optax, where it is 1e-6 by default, so that a bias that begins at 0 hardly moves.

    References:
        Bernstein et al., 2020, Algorithm 1. https://arxiv.org/abs/2002.03432

    >>> import optchain as oc
    >>> tx = oc.fromage(0.01)
    """

    learning_rate: NonNegative
    min_norm: NonNegative = 0.0

    core_ndim = None
    on_shards = True
    needs_params = True
    example = {"learning_rate": 0.01}

    def update(self, g, s, p, t):
        square = self.learning_rate**2
        shrink = 1 / jnp.sqrt(1 + square)
        step = self.learning_rate * ratio(*(jnp.maximum(norm(x), self.min_norm) for x in (p, g))) * g
        # 1 - shrink without cancellation: a step of 0.01 shrinks by 5e-5.
        return -shrink * step - p * (shrink * shrink * square / (1 + shrink)), s


fromage_step = lift(FromageStep, "fromage_step")
