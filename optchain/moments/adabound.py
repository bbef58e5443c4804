"""AdaBound and AMSBound."""

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, SUM, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Positive, Static
from optchain.core.numerics import ema, root, square
from optchain.core.rule import rule
from optchain.moments.adam import Moments
from optchain.moments.amsgrad import MaxMoments


@rule
class AdaBound:
    r"""Adam whose step sizes are held between two bounds that close in on one of SGD.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2

        u = \mu\, \mathrm{clip}\left(\frac{\sqrt{1 - b_2^t}}{1 - b_1^t} \frac{1}{\sqrt\nu + \epsilon},\
        c \left(1 - \frac{1}{\gamma t + 1}\right),\ c \left(1 + \frac{1}{\gamma t}\right)\right)

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        final_ratio: c, the final step size of SGD divided by the learning rate, positive: 0.1 by 1e-3 in the paper.
        gamma: :math:`\gamma`, how fast the bounds close in, per step, positive.
        bias_correction: debias both means, the first within the bounds.
        amsgrad: AMSBound: divide by the largest :math:`\nu` so far.

    Shapes and dtypes: any; the slots `mu` and `nu`, with `amsgrad` also `nu_max`, are like the parameter, in float32 or
    wider. The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`,
    as two numbers each.

    Differs from the paper: debiased, and with eps, as in the authors' program; Algorithm 2 and 3 are
    `bias_correction=False, eps=0.0` with a learning rate that falls as :math:`1 / \sqrt t`. The bounds are in units of
    the learning rate, which multiplies the update afterwards; :math:`\gamma` is :math:`1 - b_2` there.

    References:
        Luo et al., 2019, Algorithms 2 (AdaBound) and 3 (AMSBound). https://arxiv.org/abs/1902.09843
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    final_ratio: Positive = 100.0
    gamma: Positive = 1e-3
    bias_correction: Static[bool] = True
    amsgrad: Static[bool] = False
    kinds = {"mu": mean("b1"), "nu": SQUARE, "nu_max": SUM}

    def init(self, p):
        moments = Moments(jnp.zeros_like(p), jnp.zeros_like(p))
        return MaxMoments(*moments, jnp.zeros_like(p)) if self.amsgrad else moments

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), ema(square(g), s.nu, self.b2)
        slots = MaxMoments(mu, nu, jnp.maximum(s.nu_max, nu)) if self.amsgrad else Moments(mu, nu)
        scale = jnp.sqrt(seen.b2) / seen.b1 if self.bias_correction else 1.0
        size = scale / (root(slots[-1]) + self.eps)
        passed = self.gamma * t
        low, high = self.final_ratio * passed / (passed + 1), self.final_ratio * (1 + 1 / passed)
        return mu * jnp.clip(size, low, high), slots


scale_by_adabound = lift(AdaBound, "scale_by_adabound")
