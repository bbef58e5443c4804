"""Adam by D-Adaptation."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Positive, Rate, Static
from optchain.core.numerics import ema, quotient, root, square
from optchain.core.rule import rule
from optchain.core.trees import dot, norm1, scalar


class Estimate(NamedTuple):
    mu: Any  # like the parameters, running mean of the scaled gradients
    nu: Any  # like the parameters, running mean of g**2
    weighted: Any  # like the parameters, slower running mean of the scaled gradients
    along: jax.Array  # running mean of the gradients along `weighted`
    d: jax.Array  # the estimated distance to the solution


@rule
class DAdaptAdam:
    r"""Makes the whole step of Adam, with a rate that bounds the distance from the start to the solution from below.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) \eta d g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu}{\sqrt\nu + \epsilon} + \lambda \eta d p

        r \leftarrow \sqrt{b_2} r + (1 - \sqrt{b_2}) \eta d \Big\langle g, \frac{s}{\sqrt\nu + \epsilon} \Big\rangle,
        \qquad s \leftarrow \sqrt{b_2} s + (1 - \sqrt{b_2}) \eta d g, \qquad
        d \leftarrow \max\Big(d, \frac{r}{(1 - \sqrt{b_2}) \lVert s \rVert_1}\Big)

    Norms and products are over all leaves together, and r sees the old s. Only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. Both r and s have
    one weight, but :math:`1 - \sqrt{b_2}` is that of the step: a :math:`b_2` that rises raises the estimate, and d
    keeps its largest.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: `weight_decay` and `bias_correction` are those of the authors' code, off by default. The
    code divides by the old root in r.

    References:
        Defazio and Mishchenko, 2023, Algorithm 5. https://arxiv.org/abs/2301.07733
    """

    learning_rate: Rate = 1.0
    _: KW_ONLY
    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    weight_decay: NonNegative = 0.0
    bias_correction: Static[bool] = False

    core_ndim = None
    on_shards = True
    rate_power = 1.0
    needs_params = True
    metrics = ("d",)

    def init(self, p):
        mu, nu, weighted = (jax.tree.map(jnp.zeros_like, p) for _ in range(3))
        return Estimate(mu, nu, weighted, scalar(0.0, p), scalar(self.estim_lr0, p))

    def update(self, g, s, p, t, seen):
        b3 = self.b2**0.5
        corrected = jnp.sqrt(seen.b2) / seen.b1 if self.bias_correction else 1.0
        rate = self.learning_rate * corrected * s.d

        def scaled(mean, nu):
            return quotient(mean, root(nu) + self.eps)

        mu = jax.tree.map(lambda x, mean: ema(rate * x, mean, self.b1), g, s.mu)
        nu = jax.tree.map(lambda x, mean: ema(square(x), mean, self.b2), g, s.nu)
        along = ema(rate * dot(g, jax.tree.map(scaled, s.weighted, nu)), s.along, b3)
        weighted = jax.tree.map(lambda x, mean: ema(rate * x, mean, b3), g, s.weighted)
        u = jax.tree.map(lambda mu, nu, p: scaled(mu, nu) + self.weight_decay * rate * p, mu, nu, p)
        d = jnp.maximum(s.d, quotient(along, (1 - b3) * norm1(weighted)))
        return u, Estimate(mu, nu, weighted, along, d), {"d": d}


scale_by_dadapt_adam = lift(DAdaptAdam, "scale_by_dadapt_adam", Joint)
