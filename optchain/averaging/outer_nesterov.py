"""An outer optimizer with Nesterov momentum."""

import dataclasses

import optax

from optchain.averaging.lookahead import Lookahead
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, whole
from optchain.core.transform import Transform, transform
from optchain.moments.momentum import trace
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class OuterNesterov(Lookahead):
    """Lookahead whose slow weights, here `outer`, move with momentum."""

    name = "outer_nesterov"
    slot = "outer"


@technique(tx=scale(-0.1), every=2)
def outer_nesterov(
    tx: optax.GradientTransformation, every: int, momentum: Number = 0.9, learning_rate: Number = 0.7
) -> Transform:
    r"""Lets a transformation run for some steps, takes the way back as a gradient, and steps by Nesterov's momentum.

    .. math::
        \theta \leftarrow \theta + \mathrm{tx}(g), \qquad
        \Delta = \phi - \theta, \; v \leftarrow \mu v + \Delta, \; \phi \leftarrow \phi - \eta (\Delta + \mu v), \;
        \theta \leftarrow \phi \quad\text{every } k \text{ steps}

    The parameters are :math:`\theta`; `averaged_params(state)` gives :math:`\phi`. It is DiLoCo with one worker; with
    several, average the parameters over the workers before each k-th step is handed on. Without momentum and with a
    rate below 1 it is `lookahead`.

    Args:
        tx: any transformation, with its learning rate.
        every: k, steps of `tx` for each outer one, at least 1; 500 in the paper.
        momentum: :math:`\mu`, in [0, 1); the number `outer.momentum.decay`.
        learning_rate: :math:`\eta`, or a schedule of the outer steps; the number `outer.lr.learning_rate`.

    Metrics: `outer_nesterov.count`, steps since the last outer one, and those of the outer chain.

    Shapes and dtypes: any; the outer parameters and their momentum are like the parameter, in float32 or wider.

    Differs from the paper: one worker.

    Raises:
        ValueError: a number out of its range.

    References:
        Douillard et al., 2023, Algorithm 1 (DiLoCo). https://arxiv.org/abs/2311.08105

    >>> import optchain as oc
    >>> tx = oc.outer_nesterov(oc.adamw(1e-3), every=50)
    """
    whole("outer_nesterov", "every", every, 1)
    outer = chain(momentum=trace(momentum, nesterov=True), lr=scale_by_learning_rate(learning_rate))
    return transform(OuterNesterov(tx, every, outer))
