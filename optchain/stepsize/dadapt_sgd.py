"""SGD by D-Adaptation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive, Rate
from optchain.core.numerics import ema, global_norm, quotient
from optchain.core.rule import rule
from optchain.core.trees import dot, scalar


class Estimate(NamedTuple):
    mu: Any  # like the parameters, running mean of the scaled gradients
    total: Any  # like the parameters, sum of the scaled gradients
    along: jax.Array  # sum of the scaled gradients along `total`
    first: jax.Array  # norm of the first gradient that is not 0
    d: jax.Array  # the estimated distance to the solution


@rule
class DAdaptSGD:
    r"""Makes the whole step of SGD, with a rate that bounds the distance from the start to the solution from below.

    .. math::
        \lambda = \eta d / \lVert g_1 \rVert, \qquad r \leftarrow r + \lambda \langle g, s \rangle, \qquad
        s \leftarrow s + \lambda g, \qquad d \leftarrow \max(d, 2 r / \lVert s \rVert), \qquad
        u = \mu \leftarrow b \mu + (1 - b) \lambda g

    Norms and products are over all leaves together, and :math:`\lambda` uses the old d. Only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        momentum: b, in [0, 1).
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: there the iterates, not the steps, are averaged, :math:`p \leftarrow b p + (1 - b) z` with
    :math:`z = p_0 - s`, which makes the same steps where b is constant. The first gradient that counts in
    :math:`\lambda` is the first that is not 0.

    References:
        Defazio and Mishchenko, 2023, Algorithm 4. https://arxiv.org/abs/2301.07733
    """

    learning_rate: Rate = 1.0
    momentum: Decay = 0.9
    estim_lr0: Positive = 1e-6

    core_ndim = None
    on_shards = True
    rate_power = 0.5
    metrics = ("d",)

    def init(self, p):
        mu, total = (jax.tree.map(jnp.zeros_like, p) for _ in range(2))
        return Estimate(mu, total, scalar(0.0, p), scalar(0.0, p), scalar(self.estim_lr0, p))

    def update(self, g, s, p, t):
        first = jnp.where(s.first == 0, global_norm(g), s.first)
        rate = quotient(self.learning_rate * s.d, first)
        along = s.along + rate * dot(g, s.total)
        total = jax.tree.map(lambda x, total: total + rate * x, g, s.total)
        mu = jax.tree.map(lambda x, mean: ema(rate * x, mean, self.momentum), g, s.mu)
        d = jnp.maximum(s.d, quotient(2 * along, global_norm(total)))
        return mu, Estimate(mu, total, along, first, d), {"d": d}


scale_by_dadapt_sgd = lift(DAdaptSGD, "scale_by_dadapt_sgd", Joint)
