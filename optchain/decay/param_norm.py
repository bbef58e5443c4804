"""Parameters of constant norm."""

from typing import NamedTuple

import jax

from optchain.core.lift import lift
from optchain.core.numerics import norm, ratio
from optchain.core.rule import rule


class Radius(NamedTuple):
    """What a parameter's norm is held at."""

    radius: jax.Array  # a scalar for each leaf


@rule
class ConstantNorm:
    r"""Turns the update into the one that leads back to the norm that each parameter began with.

    .. math::
        u = R\, \frac{p + g}{\lVert p + g \rVert} - p, \qquad R = \lVert p_0 \rVert

    It is the last link of a chain: the incoming update must be the step that is taken. With `scale_by_trust_ratio`
    before the learning rate, which then is the step over R, it is Hyperball. It takes the place of weight decay.

    Fields: none.

    Shapes and dtypes: any; the norm is summed in float64. The slot `radius` is a scalar for each leaf. It reads the
    parameters: `update` without them is an error. A parameter that begins at 0 has no norm to keep: its updates pass.
    In bfloat16 the parameter's own rounding moves the norm a little, and the next step moves it back.

    Differs from the paper: the norm of the update is another link's business.

    References:
        Wen et al., 2026. https://arxiv.org/abs/2606.16899

    >>> import optchain as oc
    >>> hyperball = oc.chain(
    ...     oc.scale_by_adam(), oc.scale_by_trust_ratio(), oc.scale_by_learning_rate(0.01), oc.keep_params_norm()
    ... )
    """

    core_ndim = None
    on_shards = True
    needs_params = True

    def init(self, p):
        return Radius(norm(p))

    def axes(self, p):
        return {"radius": ()}

    def update(self, g, s, p, t):
        factor = ratio(s.radius, norm(p + g))
        # In this form an update that is to pass does so exactly, and the sum is not stored for two who read it.
        return factor * g + (factor - 1) * p, s


keep_params_norm = lift(ConstantNorm, "keep_params_norm")
