"""Shampoo."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.branch import cond
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Fraction, NonNegative, Positive, Static, whole
from optchain.core.rule import rule
from optchain.matrices.blocks import cut, joined
from optchain.matrices.inverse_root import inverse_root


class Preconditioners(NamedTuple):
    left: jax.Array | None  # (blocks, rows, rows), sum or mean of g g^T
    right: jax.Array | None  # (blocks, columns, columns), sum or mean of g^T g
    left_root: jax.Array | None  # the inverse root of left, when it was last computed
    right_root: jax.Array | None


@rule
class Shampoo:
    r"""Multiplies the update of a matrix from both sides by inverse roots of the second moments of rows and columns.

    .. math::
        L \leftarrow b L + w \, g g^T, \qquad R \leftarrow b R + w \, g^T g, \qquad
        u = (L + \epsilon \lambda_{max}(L) I)^{-e} \; g \; (R + \epsilon \lambda_{max}(R) I)^{-e}

    with :math:`w = 1 - b`, or 1 where :math:`b = 1`: a mean that forgets, or the sum of the paper.

    Fields:
        b: decay of the moments, in [0, 1]; 1 is the sum.
        exponent: :math:`e`, positive; 1/4 in the paper, 1/2 is often better.
        eps: the ridge, as a part of the largest eigenvalue, at least 0; below 1e-7 rounding errors decide.
        every: the inverse roots are computed at the first step and then every so many steps. Where gradients grow in a
            direction that the last roots have enlarged, the steps do too: graft, or compute roots often, at the start.
        block_size: longer sides are cut in blocks of at most this length, each with moments of its own.
        max_dim: sides longer than this are not cut and have no moments. The other side's exponent is then :math:`2e`,
            so that the update of a first gradient has the same size; without both sides g passes.

    Shapes and dtypes: matrices; the four slots hold symmetric matrices for each block, in float32 or wider: for each
    number of the parameter at most :math:`2 (r / c + c / r)` numbers where a block has r rows and c columns. A side
    much shorter than the other one so costs the most: 10,000 by 8 take 250 numbers for each with blocks of 1000.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every`, `block_size` or `max_dim` below 1.

    Differs from the paper: the ridge of Gupta et al. is a fixed :math:`\epsilon I` in the initial moments; this one is
    that of Anil et al., relative, so that the units of the gradient do not matter. Momentum and grafting, the size of
    another technique's update for this direction, are links of their own: `trace`, `graft`.

    References:
        Gupta, Koren and Singer, 2018, Algorithm 1. https://arxiv.org/abs/1802.09568
        Anil et al., 2020, sections 3 and 4 (blocks, rare roots). https://arxiv.org/abs/2002.09018

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_shampoo(b=0.95, exponent=0.5, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

    b: Fraction = 1.0
    exponent: Positive = 0.25
    eps: NonNegative = 1e-6
    every: Static[int] = 1
    block_size: Static[int] = 1024
    max_dim: Static[int] = 10_000

    core_ndim = 2
    batched = True
    example = {"mask": is_kernel}

    def init(self, p):
        for name in ("every", "block_size", "max_dim"):
            whole("scale_by_shampoo", name, getattr(self, name), 1)
        number, rows, columns = jax.eval_shape(lambda p: cut(p, *self._sizes(p)), p).shape
        sides = (rows if p.shape[0] <= self.max_dim else None, columns if p.shape[1] <= self.max_dim else None) * 2
        return Preconditioners(*(None if n is None else jnp.zeros((number, n, n), p.dtype) for n in sides))

    def axes(self, p):
        rows, columns = (side if n <= self.block_size else None for side, n in enumerate(p.shape))
        left, right = (None, rows, rows), (None, columns, columns)
        return {"left": left, "right": right, "left_root": left, "right_root": right}

    def update(self, g, s, p, t):
        if s.left is None and s.right is None:
            return g, s
        blocks = cut(g, *self._sizes(g))
        weight = jnp.where(jnp.equal(self.b, 1), 1, 1 - self.b).astype(g.dtype)

        def moment(old, products):
            if old is None:
                return None
            return self.b * old + weight * jnp.einsum(products, blocks, blocks, precision="highest")

        left, right = moment(s.left, "kia,kja->kij"), moment(s.right, "kai,kaj->kij")
        exponent = 2 * self.exponent if left is None or right is None else self.exponent
        due, old = jnp.mod(t - 1, self.every) == 0, (s.left_root, s.right_root)
        left_root, right_root = cond(due, roots, same, (left, right), old, exponent, self.eps)
        u = blocks if left_root is None else left_root @ blocks
        u = u if right_root is None else u @ right_root
        return joined(u, g.shape, *self._sizes(g)), Preconditioners(left, right, left_root, right_root)

    def _sizes(self, p):
        """The longest that a block may be along each side."""
        return [self.block_size if n <= self.max_dim else n for n in p.shape]


def roots(moments, old, exponent, eps):
    """The inverse roots of all blocks."""
    root = jax.vmap(inverse_root, (0, None, None))
    return tuple(None if x is None else root(x, exponent, eps) for x in moments)


def same(moments, old, exponent, eps):
    """The inverse roots as they were."""
    return old


scale_by_shampoo = lift(Shampoo, "scale_by_shampoo")
