"""Continuous coin betting."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive
from optchain.core.rule import rule


class Bets(NamedTuple):
    start: jax.Array  # like p, the first parameters
    largest: jax.Array  # like p, the largest |g| so far
    size: jax.Array  # like p, sum of |g|
    reward: jax.Array  # like p, what the bets have won, at least 0
    theta: jax.Array  # like p, sum of -g


@rule
class CoinBetting:
    r"""Steps downhill to the next bet on the sign of the gradient, without any rate; its update is added as it is.

    .. math::
        L \leftarrow \max(L, |g|), \qquad G \leftarrow G + |g|, \qquad R \leftarrow \max(R - g (p - p_0), 0), \qquad
        \theta \leftarrow \theta - g

        u = p_0 + \frac{\theta}{L \max(G + L, \alpha L)} (L + R) - p

    A constant factor of g changes nothing (but for `eps`).

    Fields:
        alpha: :math:`\alpha`, > 0; the first step is :math:`1 / \alpha`, in the units of p.
        eps: the first L, in the units of g, at least 0.

    Shapes and dtypes: any; all slots are like the parameter, in float32 or wider; `start` is a copy of it. It reads the
    parameters.

    Differs from the paper: L begins at `eps`, as in optax, not at 0. An entry that never had a gradient stays at
    :math:`p_0`.

    References:
        Orabona and Tommasi, 2017, Algorithm 2. https://arxiv.org/abs/1705.07795
    """

    alpha: Positive = 100.0
    eps: NonNegative = 1e-8

    needs_params = True

    def init(self, p):
        zeros = [jnp.zeros_like(p) for _ in range(3)]
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Bets(jnp.copy(p), jnp.zeros_like(p) + self.eps, *zeros)

    def update(self, g, s, p, t):
        largest, size = jnp.maximum(s.largest, jnp.abs(g)), s.size + jnp.abs(g)
        reward, theta = jnp.maximum(s.reward - g * (p - s.start), 0), s.theta - g
        unit = jnp.where(largest == 0, 1, largest)
        # Quotients of like units: the product of two small L would be 0.
        bet = theta / unit * ((largest + reward) / jnp.maximum(size + unit, self.alpha * unit))
        return s.start - p + bet, Bets(s.start, largest, size, reward, theta)


scale_by_cocob = lift(CoinBetting, "scale_by_cocob")
