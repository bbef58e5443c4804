"""RMSProp."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed


class MeanSquare(NamedTuple):
    nu: jax.Array  # like p, running mean of g**2


@rule
class Rms(Sleeps):
    r"""Divides the update by the root of the running mean of its squares.

    .. math::
        \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = \frac{g}{\sqrt{\nu + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{\nu} + \epsilon}

    Fields:
        decay: b, in [0, 1).
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        initial_scale: :math:`\nu` before the first update, in the units of g**2, at least 0.
        eps_in_sqrt: add eps inside the root, or to the root.
        bias_correction: divide :math:`\nu` by :math:`1 - b^t`.

    Shapes and dtypes: any; the slot `nu` is like the parameter, in float32 or wider. The link keeps the weight that the
    mean of decay `decay` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: there is no eps in the lecture; its decay is 0.9.

    References:
        Tieleman and Hinton, 2012. Lecture 6.5 of Neural Networks for Machine Learning, Coursera
    """

    decay: Mean = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: Static[bool] = True
    bias_correction: Static[bool] = False
    kinds = {"nu": SQUARE}

    def init(self, p):
        return MeanSquare(jnp.full_like(p, self.initial_scale))

    def sleep(self, s, k):
        return MeanSquare(decayed(s.nu, self.decay, k))

    def update(self, g, s, p, t, seen):
        nu = ema(square(g), s.nu, self.decay)
        mean_square = nu / seen.decay if self.bias_correction else nu
        return over_root(g, mean_square, self.eps, self.eps_in_sqrt), MeanSquare(nu)


scale_by_rms = lift(Rms, "scale_by_rms")
