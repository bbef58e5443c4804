"""Prodigy."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Positive, Range, Rate, Static, checked
from optchain.core.numerics import ema, over_root, quotient, square
from optchain.core.rule import rule
from optchain.core.trees import dot, norm1, scalar


class Estimate(NamedTuple):
    mu: Any  # like the parameters, running mean of d g
    nu: Any  # like the parameters, running mean of (d g)**2
    weighted: Any  # like the parameters, running mean of the weighted gradients
    moved: Any  # like the parameters, how far they went downhill since the start
    along: jax.Array  # running mean of the weighted gradients along `moved`
    d: jax.Array  # the estimated distance to the solution


@rule
class Prodigy:
    r"""Makes the whole step of Adam, with a rate that estimates the distance from the start to the solution.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) d g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) d^2 g^2, \qquad
        u = \eta d \left( \frac{\mu}{\sqrt\nu + d \epsilon} + \lambda p \right)

        r \leftarrow \sqrt{b_2} r + (1 - \sqrt{b_2}) \eta d^2 \langle g, p_0 - p \rangle, \qquad
        s \leftarrow \sqrt{b_2} s + (1 - \sqrt{b_2}) \eta d^2 g, \qquad
        d \leftarrow \max(d, c \, r / \lVert s \rVert_1)

    Norms and products are over all leaves together. The distance :math:`p_0 - p` is the sum of the steps made, so that
    it is exact where parameters of low precision have not moved yet: only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        beta3: decay of r and s, in [0, 1); None takes :math:`\sqrt{b_2}`.
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        estim_lr_coef: c, a factor of the estimate, > 0.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        safeguard_warmup: leave :math:`\eta` out of s, so that d grows less while a warm-up keeps :math:`\eta` small.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. r and s have one
    weight, which their quotient takes out, whatever :math:`b_2` has been; d never falls when it changes.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: `estim_lr_coef`, `weight_decay`, `safeguard_warmup` and `bias_correction` are those of the
    authors' code, and leave the paper's law alone by default; the code adds :math:`d \epsilon` with the new d.

    References:
        Mishchenko and Defazio, 2023, Algorithm 4. https://arxiv.org/abs/2306.06101
    """

    learning_rate: Rate = 1.0
    _: KW_ONLY
    b1: Mean = 0.9
    b2: Mean = 0.999
    beta3: Static[float | None] = None
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    estim_lr_coef: Positive = 1.0
    weight_decay: NonNegative = 0.0
    safeguard_warmup: Static[bool] = False
    bias_correction: Static[bool] = False

    core_ndim = None
    on_shards = True
    rate_power = 1.0
    needs_params = True
    metrics = ("d",)

    def init(self, p):
        if self.beta3 is not None:
            checked("scale_by_prodigy", "beta3", self.beta3, Range("[0, 1)"))
        mu, nu, weighted, moved = (jax.tree.map(jnp.zeros_like, p) for _ in range(4))
        return Estimate(mu, nu, weighted, moved, scalar(0.0, p), scalar(self.estim_lr0, p))

    def update(self, g, s, p, t, seen):
        d, b3 = s.d, self.b2**0.5 if self.beta3 is None else self.beta3
        corrected = jnp.sqrt(seen.b2) / seen.b1 if self.bias_correction else 1.0
        rate = self.learning_rate * corrected * d
        share = d * (d if self.safeguard_warmup else rate)
        weighted = jax.tree.map(lambda x, mean: ema(share * x, mean, b3), g, s.weighted)
        along = ema(d * rate * dot(g, s.moved), s.along, b3)
        estimate = self.estim_lr_coef * quotient(along, norm1(weighted))
        mu = jax.tree.map(lambda x, mean: ema(d * x, mean, self.b1), g, s.mu)
        nu = jax.tree.map(lambda x, mean: ema(square(d * x), mean, self.b2), g, s.nu)

        def step(mu, nu, p):
            return rate * (over_root(mu, nu, d * self.eps) + self.weight_decay * p)

        u = jax.tree.map(step, mu, nu, p)
        moved = jax.tree.map(jnp.add, s.moved, u)
        d = jnp.maximum(d, estimate)
        return u, Estimate(mu, nu, weighted, moved, along, d), {"d": d}


scale_by_prodigy = lift(Prodigy, "scale_by_prodigy", Joint)
