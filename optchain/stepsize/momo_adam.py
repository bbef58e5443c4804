"""Adam with a model of the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Rate, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.core.trees import dot, scalar
from optchain.stepsize.momo import polyak


class Model(NamedTuple):
    mu: Any  # like the parameters, running mean of g
    nu: Any  # like the parameters, running mean of g**2
    loss: jax.Array  # running mean of the loss
    lag: jax.Array  # running mean of g along the way from now back to its own time
    bound: jax.Array  # lower bound of the loss


@rule
class AdamModel:
    r"""Makes the whole step of Adam, as far as a model of the loss sees it fall to its lower bound.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        D = \sqrt{\nu / (1 - b_2^t)} + \epsilon, \qquad \rho = 1 - b_1^t

        \bar f \leftarrow b_1 \bar f + (1 - b_1) f, \qquad \gamma \leftarrow b_1 \gamma + (1 - b_1) \langle g, p \rangle

        \tau = \min\left(\frac{\eta}{\rho}, \frac{[(1 + \eta \lambda)(\bar f - \rho f_{min} - \gamma) +
        \langle \mu, p \rangle]_+}{\langle \mu, \mu / D \rangle}\right), \qquad
        u = p - \frac{p - \tau \mu / D}{1 + \eta \lambda}

    Products are over all leaves together. `update` and `oc.apply` take the extra argument `value`, the loss f; with
    None :math:`\tau = \eta / \rho`, which is Adam, and to give nothing is an error. What is kept is the difference
    :math:`\gamma - \langle \mu, p \rangle`, from the steps made, for the two would cancel: only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        b1: decay of the means, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below it.

    Metrics: `step`, :math:`\tau`, and `bound`, :math:`f_{min}`.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: nothing.

    References:
        Schaipp et al., 2023, Algorithm 2 (MoMo-Adam). https://arxiv.org/abs/2305.07583
    """

    learning_rate: Rate = 1e-2
    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    lower_bound: Rate = 0.0
    weight_decay: NonNegative = 0.0
    adapt_lower_bound: Static[bool] = False

    core_ndim = None
    on_shards = True
    needs_params = True
    extras = ("value",)
    metrics = ("step", "bound")

    def init(self, p):
        mu, nu = (jax.tree.map(jnp.zeros_like, p) for _ in range(2))
        return Model(mu, nu, scalar(0.0, p), scalar(0.0, p), scalar(self.lower_bound, p))

    def update(self, g, s, p, t, seen, value):
        mu = jax.tree.map(lambda x, mean: ema(x, mean, self.b1), g, s.mu)
        nu = jax.tree.map(lambda x, mean: ema(square(x), mean, self.b2), g, s.nu)
        lag = self.b1 * s.lag

        def scaled(mu, nu):
            return over_root(mu, nu / seen.b2, self.eps)

        way = jax.tree.map(scaled, mu, nu)
        loss, bound, rate = s.loss, s.bound, self.learning_rate / seen.b1
        if value is not None:
            loss = ema(value, loss, self.b1)
            rate, bound = polyak(self, loss - lag, dot(mu, p), dot(mu, way), bound, seen.b1)
        decay = self.learning_rate * self.weight_decay
        u = jax.tree.map(lambda x, p: (rate * x + decay * p) / (1 + decay), way, p)
        return u, Model(mu, nu, loss, lag + dot(mu, u), bound), {"step": rate, "bound": bound}


scale_by_momo_adam = lift(AdamModel, "scale_by_momo_adam", Joint)
