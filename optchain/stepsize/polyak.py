"""The Polyak step."""

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive, Rate, Static
from optchain.core.rule import rule
from optchain.core.trees import dot

VARIANTS = ("sps", "sps+")


@rule
class PolyakStep:
    r"""Multiplies the update by the step that would lead to the lowest loss, were the loss linear.

    .. math::
        u = \min\left(\frac{f - f_{min}}{\lVert g \rVert^2 + \epsilon}, \gamma\right) g

    The norm is over all leaves together. `update` and `oc.apply` take the extra argument `value`, the loss f at the
    parameters where g was computed; with None the factor is :math:`\gamma`, and to give nothing is an error.

    Fields:
        f_min: :math:`f_{min}`, a lower bound of the loss, any finite number.
        max_learning_rate: :math:`\gamma`, the largest factor, > 0.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.
        variant: "sps", or "sps+", which rests where the loss is below its bound, instead of stepping uphill.

    Metrics: `step`, the factor.

    Shapes and dtypes: any; sums are in float32 or wider. Where the divisor is 0, so is the factor.

    Errors: a ValueError while tracing, for another variant.

    Differs from the paper: `eps`; the paper's factor 1 / c is a rate that follows.

    References:
        Loizou et al., 2020, equation 3 (SPS max). https://arxiv.org/abs/2002.10542
    """

    f_min: Rate = 0.0
    max_learning_rate: Positive = 1.0
    eps: NonNegative = 0.0
    variant: Static[str] = "sps"

    core_ndim = None
    on_shards = True
    extras = ("value",)
    metrics = ("step",)

    def update(self, g, s, p, t, value):
        if self.variant not in VARIANTS:
            raise ValueError(f"scale_by_polyak: variant must be 'sps' or 'sps+', got {self.variant!r}")
        rate = jnp.asarray(self.max_learning_rate)
        if value is not None:
            gap = jnp.maximum(value - self.f_min, 0) if self.variant == "sps+" else value - self.f_min
            square = dot(g, g) + self.eps
            rate = jnp.where(square == 0, 0, jnp.minimum(gap / jnp.where(square == 0, 1, square), rate))
        return jax.tree.map(lambda x: rate.astype(x.dtype) * x, g), s, {"step": rate}


scale_by_polyak = lift(PolyakStep, "scale_by_polyak", Joint)
