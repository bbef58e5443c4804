"""ADOPT."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive, Static
from optchain.core.numerics import ema, root, square
from optchain.core.rule import rule
from optchain.moments.adam import Moments


@rule
class Adopt:
    r"""Takes the running mean of gradients that are divided by the root mean square of the gradients before them.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1)\,
        \mathrm{clip}\left(\frac{g}{\max(\sqrt\nu, \epsilon)},\ \pm (t - 1)^{1/4}\right), \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad u = \mu

    The first gradient makes no step: :math:`\nu \leftarrow g^2`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: the least divisor, in the units of g, positive.
        nesterov: let the mean look ahead by one step: the update is :math:`b_1 \mu` and the rest of the quotient.
        use_clipping: clip the quotient.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider.

    Differs from the paper: nothing; its t counts from 0 where this one counts from 1.

    References:
        Taniguchi et al., 2024, Algorithm 2, with clipping as in its section 5. https://arxiv.org/abs/2411.02853
    """

    b1: Decay = 0.9
    b2: Decay = 0.9999
    eps: Positive = 1e-6
    _: KW_ONLY
    nesterov: Static[bool] = False
    use_clipping: Static[bool] = True
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t):
        first, bound = t == 1, (t - 1) ** 0.25
        g_square = square(g)
        nu = jnp.where(first, g_square, ema(g_square, s.nu, self.b2))
        old = s.nu
        if self.use_clipping and isinstance(self.b2, float) and self.b2 >= 0.1:
            # The old average from the new one, for XLA copies what is read after it is overwritten. Digits are lost
            # only where g is so much larger that the quotient is clipped in any case.
            old = jnp.maximum(nu - (1 - self.b2) * g_square, 0) / self.b2
        quotient = g / jnp.maximum(root(old), self.eps)
        if self.use_clipping:
            quotient = jnp.clip(quotient, -bound, bound)
        mu = jnp.where(first, s.mu, ema(quotient, s.mu, self.b1))
        u = jnp.where(first, mu, ema(quotient, mu, self.b1)) if self.nesterov else mu
        return u, Moments(mu, nu)


scale_by_adopt = lift(Adopt, "scale_by_adopt")
