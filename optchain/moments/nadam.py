"""Adam with Nesterov momentum."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Fraction, Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule


class WeightedMoments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of g**2
    weight: jax.Array  # scalar, the weight that mu has seen: what it would be if all g were 1


@rule
class Nadam:
    r"""Adam whose mean looks ahead by one step.

    .. math::
        \mu \leftarrow m_t \mu + (1 - m_t) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        m_t = b_1 (1 - c\, 0.96^{\psi t})

        u = \frac{m_{t+1} \mu / (1 - \prod_{i=1}^{t+1} m_i) + (1 - m_t) g / (1 - \prod_{i=1}^t m_i)}
        {\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, after its warm-up, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        warmup: c, the share of `b1` that is missing at first, in [0, 1]; 0 is the plain form, 0.5 the paper's schedule.
        momentum_decay: :math:`\psi`, how fast the missing share vanishes, per step, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider; `weight`,
    :math:`1 - \prod m_i`, is a scalar for each leaf. The link keeps the weight that the mean of decay `b2` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: without its momentum schedule by default, as `optax.nadam`; `warmup=0.5` is it. The second
    mean is debiased as in Adam, without a further factor :math:`b_2`. PyTorch takes :math:`m_t` in the update, but
    :math:`b_1` in the mean; here it is :math:`m_t` in both, as in the paper.

    References:
        Dozat, 2016, Algorithm 2. Incorporating Nesterov Momentum into Adam, ICLR workshop
    """

    b1: Decay = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    _: KW_ONLY
    warmup: Fraction = 0.0
    momentum_decay: NonNegative = 0.004
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return WeightedMoments(jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros((), p.dtype))

    def axes(self, p):
        return {"weight": ()}

    def update(self, g, s, p, t, seen):
        missing, missing_next = (self.b1 * self.warmup * 0.96 ** (self.momentum_decay * x) for x in (t, t + 1))
        new, new_next = 1 - self.b1 + missing, 1 - self.b1 + missing_next  # 1 - m, without cancellation
        mu, nu, weight = s.mu + new * (g - s.mu), ema(square(g), s.nu, self.b2), s.weight + new * (1 - s.weight)
        mean = ahead(g, mu, weight, new, new_next)
        return over_root(mean, nu / seen.b2, self.eps, eps_root=self.eps_root), WeightedMoments(mu, nu, weight)


def ahead(g: jax.Array, mu: jax.Array, weight: jax.Array, new: Any, new_next: Any) -> jax.Array:
    """The debiased mean one step ahead, after the same gradient once more: Nesterov's momentum.

    Args:
        g: the gradient.
        mu: the mean that it has entered.
        weight: what the mean has seen.
        new: the share of the gradient in the mean, one minus its decay.
        new_next: the same at the next step.
    """
    return (1 - new_next) / (weight + new_next * (1 - weight)) * mu + new / weight * g


scale_by_nadam = lift(Nadam, "scale_by_nadam")
