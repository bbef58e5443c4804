"""AdaHessian."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Fraction, Mean, Positive
from optchain.core.numerics import ema, square
from optchain.core.rule import rule


class SquaredCurvature(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of the squared estimates of the Hessian's diagonal
    weight: jax.Array  # scalar, the weight that the second mean has seen


@rule
class AdaHessian:
    r"""Divides the running mean of the gradients by the running root mean square of the curvature.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) \hat h^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\left(\nu / (1 - b_2^n)\right)^{k / 2} + \epsilon}

    The estimate :math:`\hat h` of the Hessian's diagonal is the extra argument `hessian` of `update` and `oc.apply`, a
    tree like the gradients; `oc.hutchinson` makes one. A step that has none passes `hessian=None`, and :math:`\nu`
    and the number n of estimates stay as they are; to give nothing is an error. Before the first one the divisor is 1.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared curvature, for each estimate, in [0, 1).
        eps: added to the divisor, in the units of h, positive.
        hessian_power: k, from 0 (the gradient) to 1 (Newton's step).

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, `weight` (:math:`1 - b_2^n`) is one number
    for the leaf, in float32 or wider. The link keeps the weight that the mean of decay `b1` has seen, :math:`1 - b^t`
    or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: eps is 1e-4 in the authors' program, 1e-8 here: where the curvature has the root mean square
    c, a step is :math:`(c + 10^{-4}) / (c + 10^{-8})` times as long, twice at :math:`c = 10^{-4}`. The estimate is not
    averaged over blocks, such as the entries of one filter of a convolution; it may be averaged before it is given.
    Without an estimate the authors' program counts on; here the debiasing counts estimates.

    References:
        Yao et al., 2020, Algorithm 1 and equations 11 to 13. https://arxiv.org/abs/2006.00719
    """

    b1: Mean = 0.9
    b2: Decay = 0.999
    eps: Positive = 1e-8
    hessian_power: Fraction = 1.0

    extras = ("hessian",)
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return SquaredCurvature(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros((), p.dtype))

    def axes(self, p):
        return {"weight": ()}

    def update(self, g, s, p, t, seen, hessian):
        mu, nu, weight = ema(g, s.mu, self.b1), s.nu, s.weight
        if hessian is not None:
            nu, weight = ema(square(hessian), nu, self.b2), self.b2 * weight + (1 - self.b2)
        size = power(nu / jnp.where(weight == 0, 1, weight), self.hessian_power / 2)
        divisor = jnp.where(weight == 0, 1, size + self.eps)
        return mu / seen.b1 / divisor, SquaredCurvature(mu, nu, weight)


def power(x: jax.Array, exponent: Any) -> jax.Array:
    """The power of what is not negative, whose derivative at 0 is 0."""
    none = x == 0
    return jnp.where(none, jnp.where(exponent == 0, 1, 0), jnp.where(none, 1, x) ** exponent)


scale_by_adahessian = lift(AdaHessian, "scale_by_adahessian")
