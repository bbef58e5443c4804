"""AdaMax."""

import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Mean, NonNegative
from optchain.core.numerics import ema, quotient
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.adam import Moments


@rule
class Adamax(Sleeps):
    r"""Divides the running mean of the gradients by a decaying maximum of their sizes.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow \max(b_2 \nu, |g| + \epsilon), \qquad
        u = \frac{\mu / (1 - b_1^t)}{\nu}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the size of g, in the units of g, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that the mean of decay `b1` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers.

    Differs from the paper: eps, absent there; with 0 an entry that never had a gradient stays.

    References:
        Kingma and Ba, 2014, Algorithm 2. https://arxiv.org/abs/1412.6980
    """

    b1: Mean = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    kinds = {"mu": mean("b1")}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        nu = jnp.where(k > 0, jnp.maximum(decayed(s.nu, self.b2, k), self.eps), s.nu)
        return Moments(decayed(s.mu, self.b1, k), nu)

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), jnp.maximum(self.b2 * s.nu, jnp.abs(g) + self.eps)
        return quotient(mu / seen.b1, nu), Moments(mu, nu)


scale_by_adamax = lift(Adamax, "scale_by_adamax")
