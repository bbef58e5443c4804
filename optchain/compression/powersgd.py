"""The mean in factors of low rank."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.compression.exchange import Axis, mean, names_of
from optchain.compression.feedback import AmongDevices, Compressed, left, with_residual
from optchain.core.gather import scattered
from optchain.core.lift import lift
from optchain.core.numbers import Seed, Static, whole
from optchain.core.numerics import norm, quotient
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.matrices.lapack import orthonormal

LEAST = 1e-5  # the shortest column that counts, as a part of the longest: rounding makes others of up to 5e-6


class Factors(NamedTuple):
    residual: jax.Array  # like p, what this device has not sent so far; with an axis, along a first axis of devices
    right: jax.Array | None  # one row for each column of p, `rank` columns; the same on all devices


@rule
class PowerSgdMean(Compressed):
    r"""Averages gradients and residuals over devices in factors of low rank, by one step of power iteration.

    .. math::
        X_i = G_i + E_i, \qquad P = \mathrm{QR}\Big(\frac 1 N \sum_i X_i V\Big), \qquad R_i = X_i^T P, \qquad
        R = \frac 1 N \sum_i R_i, \\
        u = P R^T, \qquad E_i \leftarrow X_i - P R_i^T, \qquad V_j \leftarrow R_j / \|R_j\|

    on each device i of N, for each matrix. The columns of :math:`P` are orthogonal, those of :math:`V` have length 1.

    Fields:
        rank: columns of both factors, at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the normal numbers that :math:`V` begins with, a whole number or a key of `jax.random`, which may be
            traced; the same on all devices.

    What is sent: a sum over the devices for each of both factors, `rank` numbers for each row and each column. Vectors
    are sent whole, and so is a matrix that has no more entries than its factors.

    Shapes and dtypes: matrices, and vectors; other leaves need `as_matrices`, `over_layers`, or a mask that leaves them
    out, which sends them whole. The slot `residual` is like the parameter, in float32 or wider, and begins at 0. With
    an axis it has a first axis of devices: see `oc.state_specs`. The slot `right` has `rank` numbers for each column
    of a matrix that is sent in factors. Entries of g up to 1e36.

    Raises:
        ValueError: a rank below 1; at `update`, a call where no such axis is, or gradients that have been summed over
            it.

    Differs from the paper: columns of :math:`V` have length 1, which changes no result, and one that would be 0 stays
    as it was. Of two readings of Algorithm 2, a device remembers what it has not sent itself, and not what the mean
    leaves out of its gradient; the sum over the devices is the same.

    References:
        Vogels et al., 2019, Algorithms 1 and 2. https://arxiv.org/abs/1905.13727

    >>> import optchain as oc
    >>> tx = oc.chain(oc.powersgd_mean(rank=4, axis="data"), oc.sgd(0.1))
    """

    rank: Static[int] = 4
    axis: Static[Axis] = None
    seed: Seed = 0

    batched = True
    example = {"rank": 1}

    def __post_init__(self):
        whole("powersgd_mean", "rank", self.rank, 1)

    @staticmethod
    def core_ndim(ndim):
        return 2 if ndim > 1 else None

    def init(self, p):
        right = jax.random.normal(key_of(self.seed), (p.shape[1], self.rank), p.dtype) if self._factors(p) else None
        return Factors(super().init(p).residual, right)

    def axes(self, p):
        return super().axes(p) | ({"right": (1, None)} if self._factors(p) else {})

    def update(self, g, s, p, t):
        names, x = names_of(self.axis), with_residual(g, s.residual)
        if s.right is None:
            return scattered(mean(x, names), g), s._replace(residual=left(jnp.zeros_like(x), s.residual))
        columns = orthonormal(mean(x @ s.right, names))
        own = x.T @ columns
        right = mean(own, names)
        lengths = norm(right, (0,))
        seen = lengths > LEAST * jnp.max(lengths)
        new = jnp.where(seen, quotient(right, lengths), s.right)
        return scattered(columns @ right.T, g), Factors(left(x - columns @ own.T, s.residual), new)

    def message(self, x):
        return (self.rank * sum(x.shape) if self._factors(x) else x.size) * x.dtype.itemsize

    def _factors(self, p):
        """Whether the factors of a leaf have fewer numbers than itself."""
        return p.ndim == 2 and self.rank * sum(p.shape) < p.size


powersgd_mean = lift(PowerSgdMean, "powersgd_mean", AmongDevices)
