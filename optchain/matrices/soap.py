"""SOAP."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.branch import cond
from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Mean, NonNegative, Static, whole
from optchain.core.numerics import ema, square
from optchain.core.rule import rule
from optchain.matrices.eigenbasis import (
    first_bases,
    next_bases,
    over_rotated_root,
    products,
    rotated,
    rotated_back,
    same_bases,
    turned_sides,
)


class Moments(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    nu: jax.Array  # like p, running mean of the squares of g in the bases
    left: jax.Array | None  # (rows, rows), running mean of g g^T
    right: jax.Array | None  # (columns, columns), running mean of g^T g
    left_basis: jax.Array | None  # (rows, rows), orthogonal
    right_basis: jax.Array | None
    mu_missed: jax.Array  # (), the weight that the first gradient would have in mu
    nu_missed: jax.Array  # (), the same in nu


@rule
class SOAP:
    r"""Runs Adam in the bases of the eigenvectors of Shampoo's preconditioners.

    .. math::
        g' &= Q_L^T g \, Q_R, \qquad \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g'^2 \\
        u &= Q_L \left(
            \frac{Q_L^T \mu \, Q_R / (1 - b_1^{t-1})}{\sqrt{\nu / (1 - b_2^{t-1})} + \epsilon} \right) Q_R^T \\
        L &\leftarrow b_2 L + (1 - b_2) g g^T, \qquad R \leftarrow b_2 R + (1 - b_2) g^T g

    The first gradient only makes the bases, the eigenvectors of its :math:`L` and :math:`R`: its update is 0. Every
    `every` steps one step of power iteration follows, :math:`Q_L \leftarrow \mathrm{QR}(L Q_L)`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square and of the preconditioners, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        every: steps between two changes of the bases, at least 1.
        max_dim: sides longer than this keep the standard basis, and have no preconditioner.

    Shapes and dtypes: matrices; `mu` and `nu` are like the parameter, the other slots square, :math:`2 n^2` numbers for
    each side of n entries where n is at most `max_dim`, and `mu_missed` and `nu_missed`, the weights of the gradient
    that the means leave out, are numbers, all in float32 or wider. The link keeps the weight that each mean has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `max_dim` below 1.

    Differs from the paper: the first step, of which it says nothing, is that of its authors' code. That code also sorts
    each basis by eigenvalue before it changes, with :math:`\nu`, which the paper does not. It leaves the weight decay
    out of that first step, where a decay that follows this link takes :math:`\eta \lambda` of each parameter off. Where
    the root of :math:`\nu` is below 1e-6 of the largest one, which is what rounding leaves in directions that no
    gradient had, the update has no part: in the authors' code it is as large there as elsewhere, for a gradient of low
    rank most of the update.

    References:
        Vyas et al., 2024, Algorithms 3 and 4. https://arxiv.org/abs/2409.11321

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_soap(mask="*/kernel"), oc.scale_by_learning_rate(3e-3))
    """

    b1: Mean = 0.95
    b2: Mean = 0.95
    eps: NonNegative = 1e-8
    every: Static[int] = 10
    max_dim: Static[int] = 10_000

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("b1", least=8), "nu": SQUARE}
    example = {"mask": is_kernel}

    def init(self, p):
        whole("scale_by_soap", "every", self.every, 1)
        limit = whole("scale_by_soap", "max_dim", self.max_dim, 1)
        left, right, left_basis, right_basis = (
            jnp.zeros((n, n), p.dtype) if n <= limit else None for n in (*p.shape, *p.shape)
        )
        mu_missed, nu_missed = jnp.zeros(2, p.dtype)
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p), left, right, left_basis, right_basis, mu_missed, nu_missed)

    def axes(self, p):
        sides = {"left": (0, 0), "right": (1, 1), "left_basis": (0, None), "right_basis": (1, None)}
        turned = tuple(None if n <= self.max_dim else side for side, n in enumerate(p.shape))
        return {"nu": turned, **sides, "mu_missed": (), "nu_missed": ()}

    def update(self, g, s, p, t, seen):
        # In the bases of the first gradient that gradient is diagonal, and all else in it rounding, which Adam would
        # make as large as the rest.
        first = t == 1
        sample = jnp.where(first, 0, g)
        left, right = products(g, g, (s.left, s.right))
        left = None if left is None or s.left is None else ema(left, s.left, self.b2)
        right = None if right is None or s.right is None else ema(right, s.right, self.b2)
        sides = (left, right)
        bases = cond(first, first_bases, same_bases, sides, (s.left_basis, s.right_basis))
        mu, nu = ema(sample, s.mu, self.b1), ema(square(rotated(sample, *bases)), s.nu, self.b2)
        mu_missed = jnp.where(first, 1 - self.b1, self.b1 * s.mu_missed)
        nu_missed = jnp.where(first, 1 - self.b2, self.b2 * s.nu_missed)
        mean = rotated(mu / jnp.where(first, 1, seen.b1 - mu_missed), *bases)
        mean_square = nu / jnp.where(first, 1, seen.b2 - nu_missed)
        u = rotated_back(over_rotated_root(mean, mean_square, self.eps, turned_sides(bases)), *bases)
        due = (jnp.mod(t - 1, self.every) == 0) & (t > 1)
        left_basis, right_basis = cond(due, next_bases, same_bases, sides, bases)
        return u, Moments(mu, nu, left, right, left_basis, right_basis, mu_missed, nu_missed)


scale_by_soap = lift(SOAP, "scale_by_soap")
