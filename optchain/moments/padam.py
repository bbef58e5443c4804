"""Padam."""

from typing import Annotated

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, SUM, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Range, Scalar, Static
from optchain.core.numerics import root
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.amsgrad import MaxMoments, with_largest


@rule
class Padam(Sleeps):
    r"""AMSGrad that divides by a power of the largest mean square so far, between SGD with momentum and AMSGrad.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \nu_{max} \leftarrow \max(\nu_{max}, \nu / (1 - b_2^t)), \qquad
        u = \frac{\mu / (1 - b_1^t)}{(\sqrt{\nu_{max}} + \epsilon)^{2 p}}

    Fields:
        power: the power p of the mean square, in (0, 0.5]; 0.5 is AMSGrad, and near 0 it is SGD with momentum. The
            update has the units of g to the power :math:`1 - 2 p`, so that a good learning rate depends on it.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        bias_correction_mu: divide the mean by :math:`1 - b_1^t`.
        bias_correction_nu: divide the mean square by :math:`1 - b_2^t` before the maximum is taken.

    Shapes and dtypes: any; the slots `mu`, `nu` and `nu_max` are like the parameter, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each.

    Differs from the paper: there neither mean is debiased, which is `bias_correction_mu=False` and
    `bias_correction_nu=False`, and there is no eps, which is `eps=0`. Where all gradients have been 0 its quotient is
    0 / 0, and this update is 0. The authors' code has the same eps, but instead of debiasing before the maximum it
    multiplies the update by :math:`\sqrt{1 - b_2^t}`, for any p.

    References:
        Chen, Zhou, Tang, Yang, Cao and Gu, 2018, Algorithm 1. https://arxiv.org/abs/1806.06763
    """

    power: Annotated[Scalar, Range("(0, 0.5]")] = 0.125
    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    bias_correction_mu: Static[bool] = True
    bias_correction_nu: Static[bool] = True
    kinds = {"mu": mean("b1"), "nu": SQUARE, "nu_max": SUM}

    def init(self, p):
        return MaxMoments(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return MaxMoments(decayed(s.mu, self.b1, k), decayed(s.nu, self.b2, k), s.nu_max)

    def update(self, g, s, p, t, seen):
        mean, moments = with_largest(self, g, s, seen)
        return mean / (root(moments.nu_max) + self.eps) ** (2 * self.power), moments


scale_by_padam = lift(Padam, "scale_by_padam")
