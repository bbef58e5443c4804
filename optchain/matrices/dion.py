"""Dion."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import DRIFT
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Decay, Seed, Static, whole
from optchain.core.numerics import norm, quotient
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.matrices.lapack import orthonormal
from optchain.matrices.shape_scale import shape_scale

LEAST = 1e-5  # the shortest column that counts, as a part of the longest: rounding makes others of up to 5e-6


class Factors(NamedTuple):
    mu: jax.Array  # like p, what the low-rank updates have left of the sum of g
    right: jax.Array  # one row for each column of p, `rank` columns


@rule
class Dion:
    r"""Replaces the momentum of a matrix by an orthogonal matrix of low rank, and keeps what that leaves out.

    .. math::
        B &= \mu + g, \qquad P = \mathrm{QR}(B V), \qquad R = B^T P \\
        \mu &\leftarrow B - (1 - b) P R^T, \qquad V_j \leftarrow R_j / \|R_j\|, \qquad u = s \, P V^T

    One step of power iteration from the last right factor finds the largest singular vectors of the momentum as it
    changes; the columns of :math:`P` are orthogonal, those of :math:`V` have length 1.

    Fields:
        rank: columns of both factors, at least 1; at most the smaller side of the matrix is used.
        b: how much of the part that was stepped along stays in the momentum, in [0, 1).
        scale: the factor :math:`s`: `"spectral"`, `"width"`, `"rms"` or `"none"`, see
            `optchain.matrices.shape_scale`.
        seed: of the normal numbers that :math:`V` begins with, a whole number or a key of `jax.random`, which may be
            traced.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax; the slot `mu` is like the parameter, `right` has
    `rank` numbers for each of its columns, both in float32 or wider. Sums of gradients must stay finite: entries of
    g up to 1e36.

    Raises:
        ValueError: a rank below 1, or another scale.

    Differs from the paper: where a column of :math:`R` is shorter than 1e-5 of the longest, as all are beyond the rank
    of the momentum, the old one stays in :math:`V`, and the update has no such part. It is the law of one device: how
    the factors are exchanged between devices is left to the compiler.

    References:
        Ahn et al., 2025, Algorithm 1. https://arxiv.org/abs/2504.05295

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_dion(rank=16, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

    rank: Static[int] = 64
    b: Decay = 0.95
    scale: Static[str] = "spectral"
    seed: Seed = 0

    core_ndim = 2
    batched = True
    kinds = {"mu": DRIFT}
    example = {"rank": 2, "mask": is_kernel}

    def init(self, p):
        rank = min(whole("scale_by_dion", "rank", self.rank, 1), *p.shape)
        shape_scale("scale_by_dion", self.scale, p.shape)
        return Factors(jnp.zeros_like(p), jax.random.normal(key_of(self.seed), (p.shape[1], rank), p.dtype))

    def axes(self, p):
        return {"right": (1, None)}

    def update(self, g, s, p, t):
        momentum = s.mu + g
        left = orthonormal(momentum @ s.right)
        right = momentum.T @ left
        mu = momentum - (1 - self.b) * left @ right.T
        lengths = norm(right, (0,))
        # Where the momentum has a lower rank, the columns that are left are orthogonal to it, but for rounding.
        seen = lengths > LEAST * jnp.max(lengths)
        columns = jnp.where(seen, quotient(right, lengths), 0)
        u = shape_scale("scale_by_dion", self.scale, g.shape) * left @ columns.T
        return u, Factors(mu, jnp.where(seen, columns, s.right))


scale_by_dion = lift(Dion, "scale_by_dion")
