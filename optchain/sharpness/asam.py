"""Adaptive sharpness-aware minimization."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, checked
from optchain.core.transform import Transform, transform
from optchain.sharpness.sam import Sam
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Asam(Sam):
    """`Sam` in a neighborhood that is as long in each entry as the parameter is large."""

    eta: Number

    name = "asam"

    def scales(self, params: Any) -> Any:
        return jax.tree.map(lambda p: jnp.abs(p) + jnp.asarray(self.eta, p.dtype), params)


@technique(tx=scale(-0.1))
def asam(tx: optax.GradientTransformation, rho: Number = 0.5, eta: float = 0.01) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, where near is relative to their size.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{T^2 g}{\lVert T g \rVert}\Bigr), \qquad T = |p| + \eta, \qquad
        u = \mathrm{tx}(\hat g)

    The neighborhood does not change where a parameter is scaled up and the next one down, so that the model stays the
    same. Usage and extra argument `grad_fn` are those of `sam`.

    Args:
        tx: any transformation; all of it sees the second gradient.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        eta: :math:`\eta`, added to the size of a parameter, at least 0.

    Shapes and dtypes: as `sam`.

    Differs from the paper: nothing; its code leaves biases unscaled, here all parameters are scaled in the same way.

    Raises:
        ValueError: as `sam`.

    References:
        Kwon et al., 2021, Algorithm 1. https://arxiv.org/abs/2102.11600

    >>> import optchain as oc
    >>> tx = oc.asam(oc.sgd(0.1, momentum=0.9))
    """
    eta = checked("asam", "eta", eta, Range("[0, inf)"))
    return transform(Asam(tx, checked("asam", "rho", rho, Range("[0, inf)")), eta))
