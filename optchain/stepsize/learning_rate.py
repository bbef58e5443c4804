"""The learning rate."""

from dataclasses import KW_ONLY

from optchain.core.lift import lift
from optchain.core.numbers import Rate, Static
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class LearningRate(Rests):
    r"""Multiplies the update by the learning rate, downhill.

    .. math::
        u = -\eta g

    Fields:
        learning_rate: :math:`\eta`, any finite number, usually positive.
        flip_sign: False leaves the sign alone, :math:`u = \eta g`.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Robbins and Monro, 1951, equation 6. doi:10.1214/aoms/1177729586
    """

    learning_rate: Rate
    _: KW_ONLY
    flip_sign: Static[bool] = True

    linear = True
    example = {"learning_rate": 0.1}

    def update(self, g, s, p, t):
        return (-self.learning_rate if self.flip_sign else self.learning_rate) * g, s


scale_by_learning_rate = lift(LearningRate, "scale_by_learning_rate")
