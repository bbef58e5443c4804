"""Rectified Adam."""

from dataclasses import KW_ONLY
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Range, Scalar, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.core.seen import log_decay
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.adam import Moments
from optchain.moments.nadam import ahead


def length(b: Any, t: jax.Array) -> jax.Array:
    r"""The samples of a simple mean that is as sure, :math:`\rho_t = 2 / (1 - b) - 1 - 2 t b^t / (1 - b^t)`."""
    rate = -log_decay(b)
    x = t * rate
    # As they stand, the two large terms leave few of their digits while t is small; so they are subtracted beforehand,
    # and 1 - x / expm1(x) comes from its series where x is small.
    series = x / 2 - x**2 / 12 + x**4 / 720 - x**6 / 30240 + x**8 / 1209600
    return 2 / (1 - b) - 1 - 2 / rate + 2 / rate * jnp.where(x < 0.5, series, 1 - x / jnp.expm1(x))


@rule
class Radam(Sleeps):
    r"""Adam that divides by its root mean square only once that is sure enough, and then less the surer it is.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \hat\mu = \frac{\mu}{1 - b_1^t}, \qquad \hat\nu = \frac{\nu}{1 - b_2^t}

        \rho_\infty = \frac{2}{1 - b_2} - 1, \qquad \rho_t = \rho_\infty - \frac{2 t b_2^t}{1 - b_2^t}, \qquad
        r_t = \sqrt{\frac{(\rho_t - 4) (\rho_t - 2) \rho_\infty}{(\rho_\infty - 4) (\rho_\infty - 2) \rho_t}}

        u = r_t \frac{\hat\mu}{\sqrt{\hat\nu + \epsilon_{root}} + \epsilon} \ \text{where}\ \rho_t > \rho_{min}, \qquad
        u = \hat\mu \ \text{else}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1); up to 0.6 the root is never sure enough.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        threshold: :math:`\rho_{min}`, the samples that the mean square must be worth, at least 4.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. A
    change of :math:`b_2` does not touch the means; :math:`\rho_t` becomes that of t samples at the new decay.

    Differs from the paper: its threshold is 4, and it has neither eps.

    References:
        Liu et al., 2019, Algorithm 2. https://arxiv.org/abs/1908.03265
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    threshold: Annotated[Scalar, Range("[4, inf)")] = 5.0
    _: KW_ONLY
    nesterov: Static[bool] = False
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return Moments(decayed(s.mu, self.b1, k), decayed(s.nu, self.b2, k))

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), ema(square(g), s.nu, self.b2)
        mean = ahead(g, mu, seen.b1, 1 - self.b1, 1 - self.b1) if self.nesterov else mu / seen.b1
        mean_square = nu / seen.b2
        longest, now = 2 / (1 - self.b2) - 1, length(self.b2, t)
        sure = now > jnp.maximum(self.threshold, 4.0)  # traced numbers are not checked
        rho = jnp.where(sure, now, longest)
        rectified = jnp.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
        u = over_root(mean, mean_square, self.eps, eps_root=self.eps_root)
        return jnp.where(sure, rectified * u, mean), Moments(mu, nu)


scale_by_radam = lift(Radam, "scale_by_radam")
