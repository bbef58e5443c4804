"""Muon."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Decay, NonNegative, Static
from optchain.core.numerics import ema
from optchain.core.rule import rule
from optchain.matrices.newton_schulz import MUON, Polynomials, orthogonalized, polynomials, require_preconditioning
from optchain.matrices.shape_scale import shape_scale


class Momentum(NamedTuple):
    mu: jax.Array  # like p, running mean of g


@rule
class Muon:
    r"""Replaces the running mean of the gradients of a matrix by the nearest orthogonal matrix.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \hat\mu = b \mu + (1 - b) g \text{ (Nesterov) or } \mu, \qquad
        u = s \cdot \mathrm{orthogonalized}(\hat\mu)

    All singular values of the update are about 1 (between 0.7 and 1.2 where they were above 0.003 of the Frobenius
    norm) times the factor :math:`s` of the matrix' shape.

    Fields:
        ns_coeffs: the coefficients (a, b, c) of the polynomial of Newton-Schulz: those of every step, by default those
            of Jordan et al., or three for each step; or `"polar_express"`, others in each step, which converge to
            :math:`U V^T`.
        ns_steps: how many polynomials, at least 1.
        beta: :math:`b`, decay of the mean, in [0, 1).
        eps: added to the norm that the mean is divided by, in the units of g, at least 0.
        nesterov: look ahead by one step.
        adaptive: multiply the update by its inner product with :math:`\hat\mu`, which is the nuclear norm of that: the
            steepest step instead of one whose length does not depend on the gradients.
        preconditioning: what the mean is divided by before the first polynomial, which needs singular values of at most
            1 and makes the largest of them 1: `"frobenius"`, the norm; nearer to 1 come `"schatten"`, the root of the
            norm of the matrix of inner products, and `"aol"`, a number for each row or column of the shorter side;
            `"spectral"`, the largest singular value itself, by a decomposition.
        scale: the factor :math:`s`: `"none"`, `"width"`, `"spectral"` or `"rms"`, see
            `optchain.matrices.shape_scale`.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax; other parameters need a mask, layers or a matrix view.
    The slot `mu` is like the parameter, in float32 or wider, and so is all arithmetic.

    Raises:
        ValueError: coefficients of another form, or another preconditioning or scale.

    Differs from the paper: the iteration runs in float32, not in bfloat16. As there (and in PyTorch) the mean is not
    debiased, which only the look-ahead sees; optax debiases it. `scale` is the factor of the learning rate.

    References:
        Jordan et al., 2024, Muon: an optimizer for hidden layers. https://kellerjordan.github.io/posts/muon/
        Liu et al., 2025, equations 3 and 4 (`scale="rms"`). https://arxiv.org/abs/2502.16982
        Amsel et al., 2025, Algorithm 1 (`ns_coeffs="polar_express"`). https://arxiv.org/abs/2505.16932
        Boissin et al., 2025 (`preconditioning="aol"`). https://arxiv.org/abs/2512.04632
        Grishina et al., 2025 (`preconditioning="schatten"`). https://arxiv.org/abs/2506.10935

    >>> import optchain as oc
    >>> tx = oc.chain(muon=oc.scale_by_muon(scale="rms", mask="*/kernel"), lr=oc.scale_by_learning_rate(0.02))
    """

    ns_coeffs: Static[Polynomials] = MUON
    ns_steps: Static[int] = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    _: KW_ONLY
    nesterov: Static[bool] = True
    adaptive: Static[bool] = False
    preconditioning: Static[str] = "frobenius"
    scale: Static[str] = "none"

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("beta", least=8)}
    example = {"mask": is_kernel}

    def init(self, p):
        polynomials("scale_by_muon", self.ns_coeffs, self.ns_steps)
        require_preconditioning("scale_by_muon", self.preconditioning)
        shape_scale("scale_by_muon", self.scale, p.shape)
        return Momentum(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.beta)
        ahead = ema(g, mu, self.beta) if self.nesterov else mu
        coefficients = polynomials("scale_by_muon", self.ns_coeffs, self.ns_steps)
        u = orthogonalized(ahead, coefficients, self.eps, self.preconditioning)
        u = u * jnp.sum(ahead * u) if self.adaptive else u
        return u * shape_scale("scale_by_muon", self.scale, g.shape), Momentum(mu)


scale_by_muon = lift(Muon, "scale_by_muon")
