"""AMSGrad."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, SUM, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class MaxMoments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of g**2
    nu_max: jax.Array  # like p, the largest nu so far


@rule
class Amsgrad(Sleeps):
    r"""Adam that divides by the largest root mean square so far, so that no step size ever grows again.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \nu_{max} \leftarrow \max(\nu_{max}, \nu / (1 - b_2^t)), \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu_{max} + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        bias_correction_mu: divide the mean by :math:`1 - b_1^t`.
        bias_correction_nu: divide the mean square by :math:`1 - b_2^t` before the maximum is taken.

    Shapes and dtypes: any; the slots `mu`, `nu` and `nu_max` are like the parameter, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each.

    Differs from the paper: there neither mean is debiased, which is `bias_correction_mu=False` and
    `bias_correction_nu=False`, and there is no eps. PyTorch debiases after the maximum, so that its steps may grow.

    References:
        Reddi, Kale and Kumar, 2018, Algorithm 2. https://arxiv.org/abs/1904.09237
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    _: KW_ONLY
    bias_correction_mu: Static[bool] = True
    bias_correction_nu: Static[bool] = True
    kinds = {"mu": mean("b1"), "nu": SQUARE, "nu_max": SUM}

    def init(self, p):
        return MaxMoments(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return MaxMoments(decayed(s.mu, self.b1, k), decayed(s.nu, self.b2, k), s.nu_max)

    def update(self, g, s, p, t, seen):
        mean, moments = with_largest(self, g, s, seen)
        return over_root(mean, moments.nu_max, self.eps, eps_root=self.eps_root), moments


def with_largest(rule: Any, g: jax.Array, s: MaxMoments, seen: Any) -> tuple[jax.Array, MaxMoments]:
    """The mean that the update divides, and the moments after one more gradient, for AMSGrad and its variants."""
    mu, nu = ema(g, s.mu, rule.b1), ema(square(g), s.nu, rule.b2)
    mean = mu / seen.b1 if rule.bias_correction_mu else mu
    nu_max = jnp.maximum(s.nu_max, nu / seen.b2 if rule.bias_correction_nu else nu)
    return mean, MaxMoments(mu, nu, nu_max)


scale_by_amsgrad = lift(Amsgrad, "scale_by_amsgrad")
