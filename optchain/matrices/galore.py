"""GaLore."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.branch import cond
from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Mean, NonNegative, Positive, Static, whole
from optchain.core.numerics import ema, square
from optchain.core.rule import rule
from optchain.matrices.eigenbasis import over_rotated_root
from optchain.matrices.lapack import left_singular_vectors


class Projected(NamedTuple):
    projector: jax.Array  # (shorter side, rank), orthogonal columns
    mu: jax.Array  # (rank, longer side), running mean of the projected g
    nu: jax.Array  # (rank, longer side), running mean of its squares


@rule
class GaLore:
    r"""Runs Adam on the gradient's part along its own leading singular vectors of some steps ago.

    .. math::
        R = P^T g, \qquad u = \alpha \, P \, \mathrm{Adam}(R)

    for a matrix with no more rows than columns, and :math:`R = g P`, :math:`u = \alpha \, \mathrm{Adam}(R) P^T` for one
    with more. :math:`P` holds the first `rank` singular vectors of the gradient on the shorter side, taken again every
    `update_proj_gap` steps; Adam's moments go on in the new space as they are.

    Fields:
        rank: columns of the projection, at least 1; at most the shorter side is used.
        update_proj_gap: steps between two projections, at least 1.
        scale: :math:`\alpha`, positive.
        b1: decay of Adam's mean, in [0, 1).
        b2: decay of Adam's mean square, in [0, 1).
        eps: added to Adam's root, in the units of g, at least 0.

    Shapes and dtypes: matrices; the slots have `rank` numbers for each row or column, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each. Sums of gradients must stay finite: entries of g up to 1e36.

    Raises:
        ValueError: `rank` or `update_proj_gap` below 1.

    Differs from the paper: where the root of :math:`\nu` is below 1e-6 of the largest one in its column, which is what
    rounding leaves where the rank exceeds that of the gradient, Adam's step is 0, not as large as elsewhere. optax
    projects the longer side, which keeps a larger projector and smaller moments; for square matrices both are the same.

    References:
        Zhao et al., 2024, Algorithm 2. https://arxiv.org/abs/2403.03507

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_galore(rank=64, scale=0.25, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

    rank: Static[int] = 128
    update_proj_gap: Static[int] = 200
    scale: Positive = 1.0
    _: KW_ONLY
    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("b1", least=8), "nu": SQUARE}
    example = {"rank": 2, "mask": is_kernel}
    public_name = "scale_by_galore"

    def init(self, p):
        whole(self.public_name, "update_proj_gap", self.update_proj_gap, 1)
        short, long = min(p.shape), max(p.shape)
        rank = min(whole(self.public_name, "rank", self.rank, 1), short)
        return Projected(*(jnp.zeros(shape, p.dtype) for shape in ((short, rank), (rank, long), (rank, long))))

    def axes(self, p):
        short, long = (1, 0) if p.shape[0] > p.shape[1] else (0, 1)
        return {"projector": (short, None), "mu": (None, long), "nu": (None, long)}

    def update(self, g, s, p, t, seen):
        now, _, step = self.within(lying(g), s, t, seen)
        return laid(self.scale * now.projector @ step, g), now

    def within(self, wide, s, t, seen):
        """The new slots, the projected gradient, and Adam's step there, of a matrix with no more rows than columns."""
        due = jnp.mod(t - 1, self.update_proj_gap) == 0
        projector = cond(due, leading, same, wide, s.projector)
        low = projector.T @ wide
        mu, nu = ema(low, s.mu, self.b1), ema(square(low), s.nu, self.b2)
        step = over_rotated_root(mu / seen.b1, nu / seen.b2, self.eps, (0,))
        return Projected(projector, mu, nu), low, step


def lying(g):
    """The matrix or its transpose, with no more rows than columns."""
    return g.T if g.shape[0] > g.shape[1] else g


def laid(u, g):
    """What was made of the lying form of a matrix, as the matrix stands."""
    return u.T if g.shape[0] > g.shape[1] else u


def leading(x, projector):
    """The first left singular vectors, as many as the projector has."""
    return left_singular_vectors(x)[:, : projector.shape[1]]


def same(x, projector):
    """The projector as it is."""
    return projector


scale_by_galore = lift(GaLore, "scale_by_galore")
