"""Distance over gradients, leaf by leaf."""

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.stepsize.dog import DistanceOverGradients


@rule
class LayerDistanceOverGradients(DistanceOverGradients):
    r"""Makes the whole step of SGD, with a rate for each leaf: how far it moved over the root of its squared gradients.

    .. math::
        r \leftarrow \max(r, \lVert p - p_0 \rVert), \qquad G \leftarrow G + \lVert g \rVert^2, \qquad
        u = \eta \frac{r}{\sqrt{G + \epsilon}} g, \qquad r_0 = \alpha (1 + \lVert p_0 \rVert)

    As `scale_by_dog`, but norms are over one leaf, or one declared layer.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rates, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the leaf, > 0; 1e-4 with batch normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots are in float32 or wider. `init` reads the parameters' values.

    Differs from the paper: `eps` is that of the authors' code.

    References:
        Ivgi, Hinder and Carmon, 2023, section on layer-wise DoG (L-DoG). https://arxiv.org/abs/2302.12022
    """

    metrics = ()  # it has one of each for each leaf

    def axes(self, p):
        return {"distance": (), "squares": ()}

    def update(self, g, s, p, t):
        u, slots, _ = super().update(g, s, p, t)
        return u, slots


scale_by_ldog = lift(LayerDistanceOverGradients, "scale_by_ldog")
