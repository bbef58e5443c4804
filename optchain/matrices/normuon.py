"""NorMuon."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Decay, NonNegative, Static
from optchain.core.numerics import ema, norm, over_root, quotient
from optchain.core.rule import rule
from optchain.matrices.newton_schulz import MUON, Polynomials, orthogonalized, polynomials


class Moments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # one for each column of p, running mean of the squares of the orthogonalized mean


@rule
class NorMuon:
    r"""Orthogonalizes the running mean of the gradients and divides each neuron's part by its root mean square.

    .. math::
        \mu &\leftarrow b_1 \mu + (1 - b_1) g, \qquad O = \mathrm{orthogonalized}(\mu) \\
        \nu_j &\leftarrow b_2 \nu_j + (1 - b_2) \tfrac{1}{rows} \textstyle\sum_i O_{ij}^2, \qquad
        \hat O_{ij} = O_{ij} / (\sqrt{\nu_j} + \epsilon), \qquad
        u = 0.2 \sqrt{rows \cdot columns} \; \hat O / \|\hat O\|_F

    The root mean square of the update is 0.2, that of AdamW's.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square of each neuron, in [0, 1).
        eps: added to the root, at least 0.
        ns_steps: how many polynomials, at least 1.
        nesterov: orthogonalize :math:`b_1 \mu + (1 - b_1) g`.
        ns_coeffs: the coefficients of the polynomials, or `"polar_express"`, see `scale_by_muon`.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax, where a column is a neuron; the slot `mu` is like the
    parameter, `nu` has one number for each column, both in float32 or wider.

    Raises:
        ValueError: coefficients of another form.

    Differs from the paper: there rows are neurons, as PyTorch stores them; `nesterov`, absent there, is off.

    References:
        Li et al., 2025, Algorithm 1. https://arxiv.org/abs/2510.05491

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_normuon(mask="*/kernel"), oc.scale_by_learning_rate(1e-3))
    """

    b1: Decay = 0.95
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    ns_steps: Static[int] = 5
    nesterov: Static[bool] = False
    ns_coeffs: Static[Polynomials] = MUON

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("b1", least=8), "nu": SQUARE}
    example = {"mask": is_kernel}

    def init(self, p):
        polynomials("scale_by_normuon", self.ns_coeffs, self.ns_steps)
        return Moments(jnp.zeros_like(p), jnp.zeros(p.shape[1], p.dtype))

    def axes(self, p):
        return {"nu": (1,)}

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.b1)
        ahead = ema(g, mu, self.b1) if self.nesterov else mu
        # The guard of the norm is not a field: a step of 1e-8 would be no step that the paper takes.
        o = orthogonalized(ahead, polynomials("scale_by_normuon", self.ns_coeffs, self.ns_steps), 0.0)
        nu = ema(jnp.mean(o**2, axis=0), s.nu, self.b2)
        normed = over_root(o, jnp.broadcast_to(nu, o.shape), self.eps)
        return normed * quotient(0.2 * o.size**0.5, norm(normed)), Moments(mu, nu)


scale_by_normuon = lift(NorMuon, "scale_by_normuon")
