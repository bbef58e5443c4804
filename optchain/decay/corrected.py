"""Weight decay corrected for the schedule of the learning rate."""

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class CorrectedWeightDecay(Rests):
    r"""Adds a multiple of the parameter to the update that falls with the learning rate.

    .. math::
        u = g + \lambda \frac{\eta}{\eta_{max}} p

    Where a layer is followed by a normalization, decay and rate together set the ratio of its gradient's norm to its
    own; with a constant decay that ratio, and the gradient, grows as the rate falls. Decayed in step with the rate it
    stays. For `scale_by_adam` before and `scale_by_learning_rate` after it this is AdamC. Give other parameters a
    constant decay by two links with masks.

    Fields:
        weight_decay: :math:`\lambda` at the peak, at least 0; per unit of the learning rate, which a rate link applies.
        learning_rate: :math:`\eta`, the rate or schedule of the rate link, at least 0.
        peak: :math:`\eta_{max}`, the largest rate of that schedule, > 0.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing.

    References:
        Defazio, 2025, Algorithm 2 (AdamC). https://arxiv.org/abs/2506.02285
    """

    weight_decay: NonNegative
    learning_rate: NonNegative
    peak: Positive

    needs_params = True
    shrinks = True
    example = {"weight_decay": 0.1, "learning_rate": 0.05, "peak": 0.1}

    def update(self, g, s, p, t):
        return g + self.weight_decay * (self.learning_rate / self.peak) * p, s


add_corrected_decayed_weights = lift(CorrectedWeightDecay, "add_corrected_decayed_weights")
