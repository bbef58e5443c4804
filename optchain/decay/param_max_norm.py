"""A bound on the weights that enter each output."""

from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import clip_factor, unit_norm
from optchain.core.rule import rule


@rule
class MaxNorm:
    r"""Shortens the update so that the weights into each output stay within a ball.

    .. math::
        u_{\cdot j} = \min\left(1, \frac{c}{\lVert (p + g)_{\cdot j} \rVert}\right) (p + g)_{\cdot j} - p_{\cdot j}

    where j counts the last axis, the outputs. Vectors and scalars pass. It is the last link of a chain: the incoming
    update must be the step that is taken.

    Fields:
        max_norm: c, in the units of the parameter, > 0; 3 to 4 with dropout.

    Shapes and dtypes: any; norms are summed in float64. It reads the parameters: `update` without them is an error. A
    kernel has its outputs last, as in Flax. For one with several axes of outputs give a view with `as_matrices`.

    Differs from the paper: nothing.

    References:
        Hinton et al., 2012 (the bound on each hidden unit's incoming weights). https://arxiv.org/abs/1207.0580

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1, momentum=0.9), oc.keep_params_max_norm(3.0, mask="*/kernel"))
    """

    max_norm: Positive

    core_ndim = None
    on_shards = True
    needs_params = True
    example = {"max_norm": 1.0}

    def update(self, g, s, p, t):
        if g.ndim < 2:
            return g, s
        factor = clip_factor(unit_norm(p + g), self.max_norm)
        # In this form an update within the bound passes exactly, and the sum is not stored for two who read it.
        return factor * g + (factor - 1) * p, s


keep_params_max_norm = lift(MaxNorm, "keep_params_max_norm")
