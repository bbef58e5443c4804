"""Steps in proportion to the parameters."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import rms
from optchain.core.rule import rule


@rule
class ParameterRms:
    r"""Multiplies the update of each leaf by the root mean square of its parameters.

    .. math::
        u = g \max\left(\epsilon, \sqrt{\mathrm{mean}\, p^2}\right)

    Fields:
        min_scale: :math:`\epsilon`, the least factor, in the units of p, positive: parameters that are 0 move too.

    Shapes and dtypes: any; the mean is taken in float32 or wider. It reads the parameters: `update` without them is an
    error.

    Differs from the paper: nothing; :math:`\epsilon` is :math:`\epsilon_2` there.

    References:
        Shazeer and Stern, 2018, section 8 and Algorithm 5. https://arxiv.org/abs/1804.04235
    """

    min_scale: Positive = 1e-3

    core_ndim = None
    on_shards = True
    needs_params = True

    def update(self, g, s, p, t):
        return g * jnp.maximum(self.min_scale, rms(p)), s


scale_by_param_block_rms = lift(ParameterRms, "scale_by_param_block_rms")
