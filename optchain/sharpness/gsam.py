"""Surrogate gap guided sharpness-aware minimization."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked
from optchain.core.transform import Transform, transform
from optchain.sharpness.sam import Sam, perpendicular, plus
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Gsam(Sam):
    """`Sam` that also shrinks the gap between the loss at the perturbed parameters and that at the parameters."""

    alpha: Number

    name = "gsam"

    def combined(self, grads: Any, sharp: Callable[[], Any], own: Any, step: jax.Array) -> tuple[Any, dict[str, Any]]:
        sharp_grads = sharp()
        return plus(sharp_grads, -at(self.alpha, step), perpendicular(grads, sharp_grads)), {}


@technique(tx=scale(-0.1))
def gsam(tx: optax.GradientTransformation, rho: Number = 0.05, alpha: Number = 0.4) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, turned to where these are hardly worse.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad
        g_\perp = g - \frac{\langle g, \hat g \rangle}{\lVert \hat g \rVert^2} \hat g, \qquad
        u = \mathrm{tx}(\hat g - \alpha g_\perp)

    Along :math:`-g_\perp` the loss at the parameters rises and that at the perturbed ones stays, to first order: the
    gap between them, which measures the sharpness, becomes smaller. Usage and extra argument `grad_fn` are those of
    `sam`.

    Args:
        tx: any transformation; all of it sees the combined gradient.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        alpha: :math:`\alpha`, weight of the gap, at least 0; a number or a schedule. With 0 it is `sam`.

    Shapes and dtypes: as `sam`; norms and products are those of all leaves together.

    Differs from the paper: the radius follows the learning rate there; here it is what `rho` says.

    Raises:
        ValueError: as `sam`.

    References:
        Zhuang et al., 2022, Algorithm 1. https://arxiv.org/abs/2203.08065

    >>> import optchain as oc
    >>> tx = oc.gsam(oc.sgd(0.1, momentum=0.9), rho=oc.linear(0.05, 0.01, 10_000))
    """
    numbers = {"rho": rho, "alpha": alpha}
    return transform(Gsam(tx, **{name: checked("gsam", name, x, Range("[0, inf)")) for name, x in numbers.items()}))
