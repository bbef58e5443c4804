"""Momentum with a model of the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative, Rate, Static
from optchain.core.numerics import ema, quotient
from optchain.core.rule import rule
from optchain.core.trees import dot, scalar


class Model(NamedTuple):
    mu: Any  # like the parameters, running mean of g
    loss: jax.Array  # running mean of the loss
    lag: jax.Array  # running mean of g along the way from now back to its own time
    bound: jax.Array  # lower bound of the loss


@rule
class MomentumModel:
    r"""Makes the whole step of momentum, as far as a model of the loss sees it fall to its lower bound.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \bar f \leftarrow b \bar f + (1 - b) f, \qquad
        \gamma \leftarrow b \gamma + (1 - b) \langle g, p \rangle

        \tau = \min\left(\eta, \frac{[(1 + \eta \lambda)(\bar f - f_{min} - \gamma) + \langle \mu, p \rangle]_+}
        {\lVert \mu \rVert^2}\right), \qquad u = p - \frac{p - \tau \mu}{1 + \eta \lambda}

    Products are over all leaves together, and means begin with their first sample. `update` and `oc.apply` take the
    extra argument `value`, the loss f; with None :math:`\tau = \eta`, and to give nothing is an error. What is kept is
    the difference
    :math:`\gamma - \langle \mu, p \rangle`, from the steps made, for the two would cancel: only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        beta: b, in [0, 1).
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below it:
            halved where the model lies below it, then :math:`\bar f - \gamma + \langle \mu, p \rangle -
            \tau \lVert \mu \rVert^2 / 2`.

    Metrics: `step`, :math:`\tau`, and `bound`, :math:`f_{min}`.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters.

    Differs from the paper: nothing.

    References:
        Schaipp et al., 2023, Algorithm 1; appendix for the decay and the bound. https://arxiv.org/abs/2305.07583
    """

    learning_rate: Rate = 1.0
    beta: Decay = 0.9
    lower_bound: Rate = 0.0
    weight_decay: NonNegative = 0.0
    adapt_lower_bound: Static[bool] = False

    core_ndim = None
    on_shards = True
    needs_params = True
    extras = ("value",)
    metrics = ("step", "bound")

    def init(self, p):
        return Model(jax.tree.map(jnp.zeros_like, p), scalar(0.0, p), scalar(0.0, p), scalar(self.lower_bound, p))

    def update(self, g, s, p, t, value):
        b = jnp.where(t == 1, 0, self.beta)
        mu = jax.tree.map(lambda x, mean: ema(x, mean, b), g, s.mu)
        lag, square, along = b * s.lag, dot(mu, mu), dot(mu, p)
        loss, bound, rate = s.loss, s.bound, scalar(self.learning_rate, g)
        if value is not None:
            loss = ema(value, loss, b)
            rate, bound = polyak(self, loss - lag, along, square, bound, 1.0)
        decay = self.learning_rate * self.weight_decay
        u = jax.tree.map(lambda mu, p: (rate * mu + decay * p) / (1 + decay), mu, p)
        return u, Model(mu, loss, lag + dot(mu, u), bound), {"step": rate, "bound": bound}


def polyak(rule: Any, model: Any, along: Any, square: Any, bound: Any, seen: Any) -> tuple[jax.Array, jax.Array]:
    """The step along the momentum to the lower bound, and the new bound.

    Args:
        rule: with a learning rate, a decay, a lower bound, and whether it adapts.
        model: what the model says of the loss at the parameters.
        along: the inner product of momentum and parameters.
        square: how fast the model falls along the step.
        bound: the lower bound so far.
        seen: the weight that the running means have seen.
    """
    decay = rule.learning_rate * rule.weight_decay
    reach = (1 + decay) * model - decay * along
    if rule.adapt_lower_bound:
        halved = jnp.maximum(reach / (2 * (1 + decay) * seen), rule.lower_bound)
        bound = jnp.where(reach < (1 + decay) * seen * bound, halved, bound)
    rate = jnp.minimum(rule.learning_rate / seen, quotient(jnp.maximum(reach - (1 + decay) * seen * bound, 0), square))
    if rule.adapt_lower_bound:
        bound = jnp.maximum((model - rate * square / 2) / seen, rule.lower_bound)
    return rate, bound


scale_by_momo = lift(MomentumModel, "scale_by_momo", Joint)
