"""Yogi."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.adam import Moments


@rule
class Yogi(Sleeps):
    r"""Adam whose mean square moves towards the square of the gradient by steps that do not depend on how far it is.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow \nu - (1 - b_2) \operatorname{sign}(\nu - g^2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        initial_accumulator_value: :math:`\nu` before the first update, in the units of g**2, at least 0.
        bias_correction: divide :math:`\mu` by :math:`1 - b_1^t` and :math:`\nu` by :math:`1 - b_2^t`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.
    :math:`\nu` is not a mean, so that a change of :math:`b_2` changes the quotient of a constant gradient too.

    Differs from the paper: debiased by default; Algorithm 2 is `bias_correction=False`. optax begins `mu` too at
    `initial_accumulator_value`, and so moves entries that never had a gradient; here it begins at 0.

    References:
        Zaheer et al., 2018, Algorithm 2. Adaptive Methods for Nonconvex Optimization, NeurIPS 31
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-3
    eps_root: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 1e-6
    _: KW_ONLY
    bias_correction: Static[bool] = True
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.full_like(p, self.initial_accumulator_value))

    def sleep(self, s, k):
        return Moments(decayed(s.mu, self.b1, k), s.nu)

    def update(self, g, s, p, t, seen):
        g_square = square(g)
        mu, nu = ema(g, s.mu, self.b1), s.nu - (1 - self.b2) * jnp.sign(s.nu - g_square) * g_square
        mean, mean_square = (mu / seen.b1, nu / seen.b2) if self.bias_correction else (mu, nu)
        return over_root(mean, mean_square, self.eps, eps_root=self.eps_root), Moments(mu, nu)


scale_by_yogi = lift(Yogi, "scale_by_yogi")
