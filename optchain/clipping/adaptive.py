"""Adaptive gradient clipping."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Positive, Static
from optchain.core.numerics import clip_factor, unit_norm
from optchain.core.rule import rule


@rule
class AdaptiveClip:
    r"""Scales the update of each output's weights down, where it is large beside these weights.

    .. math::
        u_{\cdot j} = g_{\cdot j} \min\left(1,
        \lambda\, \frac{\max(\lVert p_{\cdot j} \rVert, \epsilon)}{\lVert g_{\cdot j} \rVert}\right)

    where j counts the last axis, the outputs. A vector or a scalar is one unit.

    Fields:
        clipping: :math:`\lambda`, the bound on the ratio of the norms, > 0; about 0.01.
        eps: :math:`\epsilon`, the least that a norm of weights counts for, in the units of p, > 0.
        axis: the axis or axes that each norm is taken over, of every leaf that the mask chooses; None stands for all
            but the last, and for that of a vector.

    Shapes and dtypes: any; norms are summed in float64. It reads the parameters: `update` without them is an error. A
    kernel has its outputs last, as in Flax. For one with several axes of outputs give a view with `as_matrices`. Leave
    the last linear layer out with a mask, as in the paper. A NaN or infinity spoils the weights of its output.

    Differs from the paper: nothing. optax takes three axes for a layer with heads, (d, heads, features), whose first
    axis is summed; here the first two are, as in a convolution over one axis.

    References:
        Brock et al., 2021, equation 3. https://arxiv.org/abs/2102.06171

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adaptive_grad_clip(0.01), oc.sgd(0.1, momentum=0.9, nesterov=True))
    """

    clipping: Positive
    eps: Positive = 1e-3
    axis: Static[int | tuple[int, ...] | None] = None

    core_ndim = None
    on_shards = True
    needs_params = True
    example = {"clipping": 0.1}

    def update(self, g, s, p, t):
        bound = self.clipping * jnp.maximum(unit_norm(p, self.axis), self.eps)
        return g * clip_factor(unit_norm(g, self.axis), bound), s


adaptive_grad_clip = lift(AdaptiveClip, "adaptive_grad_clip")
