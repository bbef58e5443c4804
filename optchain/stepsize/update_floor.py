"""A floor under the relative size of the updates."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import norm
from optchain.core.rule import rule


@rule
class UpdateFloor:
    r"""Scales the update of each leaf up, where it is too small for its parameter.

    .. math::
        u = g \max\left(1, \rho\, \frac{\lVert p \rVert}{\lVert g \rVert}\right)

    After the learning rate the ratio is that of the step that is taken. An update of 0 stays 0.

    Fields:
        min_ratio: :math:`\rho`, the least norm of the update over that of the parameter, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A NaN or infinity spoils its whole leaf.

    Differs from the paper: it holds the relative size at a constant; here the constant bounds it from below.

    References:
        Kosson, Messmer and Jaggi, 2023 (rotational variants of optimizers). https://arxiv.org/abs/2305.17212

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adam(1e-3), oc.floor_update_ratio(1e-4, mask=oc.is_matrix))
    """

    min_ratio: NonNegative

    core_ndim = None
    on_shards = True
    needs_params = True
    example = {"min_ratio": 0.1}

    def update(self, g, s, p, t):
        n = norm(g)
        least = self.min_ratio * norm(p)
        return g * jnp.where(n == 0, 1, jnp.maximum(least / jnp.where(n == 0, 1, n), 1)), s


floor_update_ratio = lift(UpdateFloor, "floor_update_ratio")
