"""Distance over weighted gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive, Rate
from optchain.core.numerics import bounded, quotient, sqrt
from optchain.core.rule import rule
from optchain.core.trees import dot, scalar


class Way(NamedTuple):
    moved: Any  # like the parameters, how far they went downhill since the start
    estim_sq_dist: jax.Array  # the largest squared norm of `moved` so far
    squares: jax.Array  # sum of the squared norms of the gradients, each times the distance at its time


@rule
class DistanceOverWeightedGradients:
    r"""Makes the whole step of SGD, with the squared distance moved over the root of weighted squared gradients.

    .. math::
        r^2 \leftarrow \max(r^2, \lVert p - p_0 \rVert^2), \qquad v \leftarrow v + r^2 \lVert g \rVert^2, \qquad
        u = \eta \frac{r^2}{\sqrt{v} + \epsilon} g

    Norms are over all leaves together. The distance :math:`p - p_0` is the sum of the steps made, so that it is exact
    where parameters of low precision have not moved yet: only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        init_estim_sq_dist: the first :math:`r^2`, in the units of p**2, > 0.
        eps: :math:`\epsilon`, in the units of p times g, at least 0.

    Metrics: `distance`, r, and `step`, the factor of g.

    Shapes and dtypes: any; the slots are in float32 or wider.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`.

    Differs from the paper: `eps`, absent there, is that of optax.

    References:
        Khaled, Mishchenko and Jin, 2023, Algorithm 1. https://arxiv.org/abs/2305.16284
    """

    learning_rate: Rate = 1.0
    init_estim_sq_dist: Positive = 1e-4
    eps: NonNegative = 1e-4

    core_ndim = None
    on_shards = True
    rate_power = 0.5
    metrics = ("distance", "step")

    def init(self, p):
        return Way(jax.tree.map(jnp.zeros_like, p), scalar(self.init_estim_sq_dist, p), scalar(0.0, p))

    def update(self, g, s, p, t):
        square = bounded(jnp.maximum(s.estim_sq_dist, dot(s.moved, s.moved)))
        squares = bounded(s.squares + square * dot(g, g))
        rate = self.learning_rate * quotient(square, sqrt(squares) + self.eps)
        u = jax.tree.map(lambda x: rate * x, g)
        moved = jax.tree.map(jnp.add, s.moved, u)
        return u, Way(moved, square, squares), {"distance": sqrt(square), "step": rate}


scale_by_dowg = lift(DistanceOverWeightedGradients, "scale_by_dowg", Joint)
