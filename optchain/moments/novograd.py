"""NovoGrad."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative
from optchain.core.numerics import bounded, ema, over_root, square
from optchain.core.rule import rule
from optchain.core.whole import whole_sum


class LeafMoments(NamedTuple):
    mu: jax.Array  # like p, decaying sum of normalized g
    nu: jax.Array  # scalar, running mean of the squared norm of g


@rule
class NovoGrad:
    r"""Sums gradients that are divided by the running norm of their leaf.

    .. math::
        \nu \leftarrow b_2 \nu + (1 - b_2) \lVert g \rVert^2, \qquad
        \mu \leftarrow b_1 \mu + \frac{g}{\sqrt{\nu + \epsilon_{root}} + \epsilon} + \lambda p, \qquad u = \mu

    The first gradient begins both: :math:`\nu \leftarrow \lVert g \rVert^2`.

    Fields:
        b1: decay of the sum, in [0, 1). The sum is not normalized: a constant term grows by :math:`1 / (1 - b_1)`.
        b2: decay of the squared norm, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: :math:`\lambda`, per unit of the learning rate, at least 0.

    Shapes and dtypes: any; the slot `mu` is like the parameter, `nu` one number for the leaf, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: eps_root, absent there, is 0; the paper's experiments use larger :math:`b_2`, such as 0.98.

    References:
        Ginsburg et al., 2019, Algorithm 1. https://arxiv.org/abs/1905.11286
    """

    b1: Decay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    weight_decay: NonNegative = 0.0

    core_ndim = None
    on_shards = True
    needs_params = True
    kinds = {"mu": mean("b1")}

    def init(self, p):
        return LeafMoments(jnp.zeros_like(p), jnp.zeros((), p.dtype))

    def axes(self, p):
        return {"nu": ()}

    def update(self, g, s, p, t):
        total = bounded(whole_sum(square(g)))
        nu = jnp.where(t == 1, total, ema(total, s.nu, self.b2))
        mu = self.b1 * s.mu + over_root(g, nu, self.eps, eps_root=self.eps_root) + self.weight_decay * p
        return mu, LeafMoments(mu, nu)


scale_by_novograd = lift(NovoGrad, "scale_by_novograd")
