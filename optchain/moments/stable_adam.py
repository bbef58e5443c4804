"""Adam with update clipping (StableAdamW)."""

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Positive
from optchain.core.numerics import ema, over_root, rms, root, square
from optchain.core.rule import rule
from optchain.moments.adam import Moments


@rule
class StableAdam:
    r"""Adam that steps less where the gradients of a leaf outgrow their running mean square.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \hat\mu = \frac{\mu}{1 - b_1^t}, \qquad \hat\nu = \frac{\nu}{1 - b_2^t}

        \mathrm{RMS} = \sqrt{\mathrm{mean}\, \frac{g^2}{\max(\hat\nu, \epsilon^2)}}, \qquad
        u = \frac{1}{\max(1, \mathrm{RMS})} \left(\frac{\hat\mu}{\sqrt{\hat\nu} + \epsilon} + \lambda p\right)

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, and the least divisor within RMS, in the units of g, positive.
        weight_decay: :math:`\lambda`, per unit of the learning rate, at least 0; the clipping scales it too.

    Shapes and dtypes: any; RMS is one number for the leaf. The slots `mu` and `nu` are like the parameter, in float32
    or wider, and those of `scale_by_adam`. It reads the parameters: `update` without them is an error. The link keeps
    the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: nothing; it stores the debiased means, here they are debiased when read.

    References:
        Wortsman et al., 2023, Algorithm 2. https://arxiv.org/abs/2304.13013
    """

    b1: Mean = 0.9
    b2: Mean = 0.99
    eps: Positive = 1e-6
    weight_decay: NonNegative = 0.0

    core_ndim = None
    on_shards = True
    needs_params = True
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), ema(square(g), s.nu, self.b2)
        mean, mean_square = mu / seen.b1, nu / seen.b2
        # A quotient before the square: neither eps**2 nor g**2 needs to be in the range of float32.
        size = rms(g / jnp.maximum(root(mean_square), self.eps))
        u = over_root(mean, mean_square, self.eps) + self.weight_decay * p
        return u / jnp.maximum(size, 1.0), Moments(mu, nu)


scale_by_stable_adam = lift(StableAdam, "scale_by_stable_adam")
