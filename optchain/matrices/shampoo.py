"""Shampoo."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Fraction, NonNegative, Positive, Static, whole
from optchain.core.rule import rule
from optchain.matrices.blocks import cut, joined
from optchain.matrices.inverse_root import inverse_root


class Preconditioners(NamedTuple):
    left: jax.Array  # (blocks, rows, rows), sum or mean of g g^T
    right: jax.Array  # (blocks, columns, columns), sum or mean of g^T g
    left_root: jax.Array  # the inverse root of left, when it was last computed
    right_root: jax.Array


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

    Shapes and dtypes: matrices; the four slots hold symmetric matrices for each block, in float32 or wider.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `block_size` below 1.

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

    core_ndim = 2
    batched = True
    example = {"mask": is_kernel}

    def init(self, p):
        whole("scale_by_shampoo", "every", self.every, 1)
        whole("scale_by_shampoo", "block_size", self.block_size, 1)
        number, rows, columns = jax.eval_shape(lambda p: cut(p, self.block_size), p).shape
        sides = (rows, columns, rows, columns)
        return Preconditioners(*(jnp.zeros((number, n, n), p.dtype) for n in sides))

    def axes(self, p):
        rows, columns = (side if n <= self.block_size else None for side, n in enumerate(p.shape))
        left, right = (None, rows, rows), (None, columns, columns)
        return {"left": left, "right": right, "left_root": left, "right_root": right}

    def update(self, g, s, p, t):
        blocks = cut(g, self.block_size)
        weight = jnp.where(jnp.equal(self.b, 1), 1, 1 - self.b).astype(g.dtype)
        left = self.b * s.left + weight * jnp.einsum("kia,kja->kij", blocks, blocks, precision="highest")
        right = self.b * s.right + weight * jnp.einsum("kai,kaj->kij", blocks, blocks, precision="highest")

        due, numbers = jnp.mod(t - 1, self.every) == 0, (self.exponent, self.eps)
        left_root, right_root = jax.lax.cond(due, roots, same, left, right, s.left_root, s.right_root, *numbers)
        u = joined(left_root @ blocks @ right_root, g.shape, self.block_size)
        return u, Preconditioners(left, right, left_root, right_root)


def roots(left, right, left_root, right_root, exponent, eps):
    """The inverse roots of all blocks."""
    root = jax.vmap(inverse_root, (0, None, None))
    return root(left, exponent, eps), root(right, exponent, eps)


def same(left, right, left_root, right_root, exponent, eps):
    """The inverse roots as they were."""
    return left_root, right_root


scale_by_shampoo = lift(Shampoo, "scale_by_shampoo")
