"""Distance over gradients."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive, Rate
from optchain.core.numerics import bounded, global_norm, quotient, sqrt
from optchain.core.rule import rule
from optchain.core.trees import dot, scalar


class Way(NamedTuple):
    moved: Any  # like the parameters, how far they went downhill since the start
    distance: jax.Array  # the largest norm of `moved` so far
    squares: jax.Array  # sum of the squared norms of the gradients


@rule
class DistanceOverGradients:
    r"""Makes the whole step of SGD, with the distance moved so far over the root of all squared gradients as its rate.

    .. math::
        r \leftarrow \max(r, \lVert p - p_0 \rVert), \qquad G \leftarrow G + \lVert g \rVert^2, \qquad
        u = \eta \frac{r}{\sqrt{G + \epsilon}} g, \qquad r_0 = \alpha (1 + \lVert p_0 \rVert)

    Norms are over all leaves together. The distance :math:`p - p_0` is the sum of the steps made, so that it is exact
    where parameters of low precision have not moved yet: only a change of sign may follow this link. The authors
    evaluate an average of the iterates, as `average_params` after that keeps it.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the parameters, > 0; 1e-4 with batch normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.

    Metrics: `distance`, r, and `step`, the factor of g.

    Shapes and dtypes: any; the slots are in float32 or wider. `init` reads the parameters' values.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`.

    Differs from the paper: `eps` is that of the authors' code.

    References:
        Ivgi, Hinder and Carmon, 2023, equation DoG. https://arxiv.org/abs/2302.12022
    """

    learning_rate: Rate = 1.0
    _: KW_ONLY
    reps_rel: Positive = 1e-6
    eps: NonNegative = 1e-8

    core_ndim = None
    on_shards = True
    rate_power = 0.5
    metrics = ("distance", "step")

    def init(self, p):
        start = self.reps_rel * (1 + global_norm(p))
        return Way(jax.tree.map(jnp.zeros_like, p), scalar(start, p), scalar(0.0, p))

    def update(self, g, s, p, t) -> tuple[Any, ...]:
        distance = jnp.maximum(s.distance, global_norm(s.moved))
        squares = bounded(s.squares + dot(g, g))
        rate = self.learning_rate * quotient(distance, sqrt(squares + self.eps))
        u = jax.tree.map(lambda x: rate * x, g)
        moved = jax.tree.map(jnp.add, s.moved, u)
        return u, Way(moved, distance, squares), {"distance": distance, "step": rate}


scale_by_dog = lift(DistanceOverGradients, "scale_by_dog", Joint)
