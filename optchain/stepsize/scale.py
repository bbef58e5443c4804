"""A constant or scheduled factor."""

from optchain.core.lift import lift
from optchain.core.numbers import Rate
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class Scale(Rests):
    r"""Multiplies the update by a factor.

    .. math::
        u = c g

    Fields:
        step_size: c, any finite number; negative descends.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Robbins and Monro, 1951, equation 6. doi:10.1214/aoms/1177729586
    """

    step_size: Rate

    linear = True
    example = {"step_size": -0.1}

    def update(self, g, s, p, t):
        return self.step_size * g, s


scale = lift(Scale, "scale")
