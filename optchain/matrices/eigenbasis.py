"""Bases of eigenvectors that follow symmetric matrices as they change, and Adam's quotient in a basis."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import over_root, sqrt
from optchain.matrices.lapack import eigh, orthonormal

ROUNDING = 1e-6  # what rounding leaves where a rotated array is 0, at most, as a part of its largest entry

Bases = tuple[jax.Array | None, ...]  # of rows and columns, or their matrices; None is the standard basis


def first_basis(a: jax.Array) -> jax.Array:
    """The eigenvectors of a symmetric matrix as columns, the largest eigenvalue first."""
    return eigh(a)[1][:, ::-1]


def next_basis(a: jax.Array, basis: jax.Array) -> jax.Array:
    """One step of power iteration: nearer to the eigenvectors, still orthogonal."""
    return orthonormal(jnp.matmul(a, basis, precision="highest"))


def products(x: jax.Array, y: jax.Array, sides: Bases) -> tuple[Any, Any]:
    """The products of the rows of x with each other, and of the columns of y, for the sides that have a matrix."""
    left, right = sides
    return (
        None if left is None else jnp.matmul(x, x.T, precision="highest"),
        None if right is None else jnp.matmul(y.T, y, precision="highest"),
    )


def rotated(x: jax.Array, left: jax.Array | None, right: jax.Array | None) -> jax.Array:
    """A matrix in the bases of its rows and columns; None is the standard basis."""
    x = x if left is None else jnp.matmul(left.T, x, precision="highest")
    return x if right is None else jnp.matmul(x, right, precision="highest")


def rotated_back(x: jax.Array, left: jax.Array | None, right: jax.Array | None) -> jax.Array:
    """The matrix that is `x` in these bases."""
    return rotated(x, None if left is None else left.T, None if right is None else right.T)


def first_bases(matrices: Bases, bases: Bases) -> Bases:
    """The eigenvectors of each side's matrix."""
    return tuple(None if a is None else first_basis(a) for a in matrices)


def next_bases(matrices: Bases, bases: Bases) -> Bases:
    """The next basis of each side."""
    pairs = zip(matrices, bases, strict=True)
    return tuple(None if a is None or q is None else next_basis(a, q) for a, q in pairs)


def same_bases(matrices: Bases, bases: Bases) -> Bases:
    """The bases as they are, where they do not change."""
    return bases


def turned_sides(bases: Bases) -> tuple[int, ...]:
    """The sides that have a basis other than the standard one: 0 for the rows, 1 for the columns."""
    return tuple(side for side, basis in enumerate(bases) if basis is not None)


def over_rotated_root(x: jax.Array, square: jax.Array, eps: Any, sides: tuple[int, ...]) -> jax.Array:
    """Adam's quotient of two means in bases of the rows (0) or columns (1); 0 where the mean square is only rounding.

    A gradient of low rank has no part in most directions of such a basis: what the rotation rounds it to there is all
    that Adam would see, and make as large as the rest.
    """
    size = sqrt(square)
    seen = size >= ROUNDING * jnp.max(size, sides, keepdims=True)
    return jnp.where(seen, over_root(x, square, eps), 0) if sides else over_root(x, square, eps)
