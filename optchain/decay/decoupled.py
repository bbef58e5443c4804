"""Weight decay."""

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class WeightDecay(Rests):
    r"""Adds a multiple of the parameter to the update.

    .. math::
        u = g + \lambda p

    After the moments and before the learning rate this is decoupled decay, as in AdamW; before the moments it is the
    gradient of the penalty :math:`\lambda \lVert p \rVert^2 / 2` (L2), which adaptive moments then rescale. For plain
    SGD the two are the same.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: there the decay is scaled by the schedule but not by the base rate; here the rate link
    scales both, as elsewhere in practice.

    References:
        Loshchilov and Hutter, 2017, Algorithms 1 and 2. https://arxiv.org/abs/1711.05101
    """

    weight_decay: NonNegative = 0.0

    needs_params = True
    shrinks = True
    example = {"weight_decay": 0.1}

    def update(self, g, s, p, t):
        return g + self.weight_decay * p, s


add_decayed_weights = lift(WeightDecay, "add_decayed_weights", positional_mask=True)
