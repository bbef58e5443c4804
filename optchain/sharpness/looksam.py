"""Sharpness-aware minimization with a second gradient at some of the steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.branch import cond
from optchain.core.door import like
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked, whole
from optchain.core.transform import Transform, transform
from optchain.sharpness.sam import Sam, normalized, perpendicular, plus
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class LookSam(Sam):
    """`Sam` at every k-th step; between them the last direction to flat regions is added to the gradient.

    State under its name: `count`, and `flat`, that direction, with the norm 1.
    """

    k: int
    alpha: Number

    name = "looksam"

    def begin(self, params: Any) -> dict[str, Any]:
        return super().begin(params) | {"flat": jax.tree.map(jnp.zeros_like, params)}

    def combined(self, grads: Any, sharp: Callable[[], Any], own: Any, step: jax.Array) -> tuple[Any, dict[str, Any]]:
        def computed() -> tuple[Any, Any]:
            sharp_grads = sharp()
            return sharp_grads, like(normalized(perpendicular(sharp_grads, grads))[0], own["flat"])

        def reused() -> tuple[Any, Any]:
            _, size = normalized(grads)
            return plus(grads, jnp.asarray(at(self.alpha, step), size.dtype) * size, own["flat"]), own["flat"]

        gradients, flat = cond(own["count"] % self.k == 0, computed, reused)
        return gradients, {"flat": flat}


@technique(tx=scale(-0.1))
def looksam(tx: optax.GradientTransformation, rho: Number = 0.05, k: int = 5, alpha: Number = 0.7) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, which it computes at every k-th step only.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad
        v = \hat g - \frac{\langle \hat g, g \rangle}{\lVert g \rVert^2} g, \qquad u = \mathrm{tx}(\hat g)

    at the first of k steps, and at the others, where :math:`\hat g` is not computed,

    .. math::
        u = \mathrm{tx}\Bigl(g + \alpha \frac{\lVert g \rVert}{\lVert v \rVert} v\Bigr)

    with the last v, which changes slowly. Usage and extra argument `grad_fn` are those of `sam`; under `vmap` it is
    called at all steps.

    Args:
        tx: any transformation; all of it sees these gradients.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        k: steps from one second gradient to the next, at least 1. With 1 it is `sam`.
        alpha: :math:`\alpha`, size of the reused component beside the gradient, at least 0; a number or a schedule.

    Shapes and dtypes: as `sam`; norms and products are those of all leaves together. The slot `flat`, v over its norm,
    is like the parameters, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: as `sam`; a k that is not a whole number of at least 1.

    References:
        Liu et al., 2022, Algorithm 1. https://arxiv.org/abs/2203.02714

    >>> import optchain as oc
    >>> tx = oc.looksam(oc.sgd(0.1, momentum=0.9), rho=0.05, k=5)
    """
    numbers = {"rho": rho, "alpha": alpha}
    checks = {name: checked("looksam", name, x, Range("[0, inf)")) for name, x in numbers.items()}
    return transform(LookSam(tx, k=whole("looksam", "k", k, 1), **checks))
