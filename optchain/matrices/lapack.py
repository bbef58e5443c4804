"""Decompositions that are safe under `vmap` on CPUs, and their derivatives.

Where two eigenvalues or singular values are equal to rounding, their vectors are any basis of one space, and where a
column depends on those before it, so is the rest of an orthonormal factor: no derivative is defined there, and these
rules take the choice that was made as constant.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.scipy.linalg import solve_triangular

from optchain.core.gather import gathered
from optchain.core.numerics import norm, quotient


def one_by_one(law: Callable[..., Any]) -> Callable[..., Any]:
    """A function of matrices that `vmap` runs on one after the other on CPUs, and together elsewhere.

    In jaxlib 0.10 a batched LAPACK call on a CPU waits in a thread of XLA's pool for others of that pool: as
    many such calls at once as there are threads (two layers on two cores) wait for ever.
    """
    alone = custom_vmap(law)

    @alone.def_vmap
    def _(size: int, batched: list[bool], *xs: jax.Array) -> Any:
        stack = next(x for x, mapped in zip(xs, batched, strict=True) if mapped)
        full = [x if mapped else jnp.broadcast_to(x, (size, *x.shape)) for x, mapped in zip(xs, batched, strict=True)]
        full = [gathered(x, 1, stack) for x in full]

        def in_turn(*xs: jax.Array) -> Any:
            # A loop has no layout over an axis that is sharded.
            results = jax.lax.map(lambda x: alone(*x), tuple(gathered(x, 0) for x in xs))
            return jax.tree.map(lambda x: gathered(x, 1, stack), results)

        # The function itself would be batched again by a second `vmap`.
        results = jax.lax.platform_dependent(*full, cpu=in_turn, default=jax.vmap(law))
        return results, jax.tree.map(lambda _: True, results)

    return alone


@jax.custom_jvp
def eigh(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns."""
    return _eigh(a)


@eigh.defjvp
def _(primals: Any, tangents: Any) -> Any:
    values, vectors = eigh(*primals)
    turned = _product(vectors.T, _product((tangents[0] + tangents[0].T) / 2, vectors))
    return (values, vectors), (jnp.diagonal(turned), _product(vectors, turned * _inverse_gaps(values)))


@jax.custom_jvp
def orthonormal(a: jax.Array) -> jax.Array:
    """The orthonormal factor of the QR decomposition of a matrix with no more columns than rows."""
    return _orthonormal(a)


@orthonormal.defjvp
def _(primals: Any, tangents: Any) -> Any:
    factor = orthonormal(*primals)
    upper = jnp.triu(_product(factor.T, primals[0]))
    sizes = jnp.abs(jnp.diagonal(upper))
    free = sizes > _least(sizes)
    # A column that depends on those before it has no derivative of its own, and is not part of that of later ones.
    upper = jnp.where(free[:, None], upper, jnp.eye(len(sizes), dtype=upper.dtype))
    moved = jnp.where(free[None], _product(tangents[0], _inverse_transposed(upper).T), 0)
    within = _product(factor.T, moved)
    below = jnp.tril(within, -1)
    return factor, moved + _product(factor, below - below.T - within)


@jax.custom_jvp
def left_singular_vectors(a: jax.Array) -> jax.Array:
    """The left singular vectors of a matrix with no more rows than columns, as columns."""
    return _left_singular_vectors(a)


@left_singular_vectors.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a,), (change,), vectors = primals, tangents, left_singular_vectors(*primals)
    turned = _product(vectors.T, a)
    values = norm(turned, (1,))[:, 0]
    half = _product(_product(vectors.T, change), turned.T)
    sums = values[:, None] + values[None]
    gaps = quotient(_inverse_gaps(values), sums)
    return vectors, _product(vectors, (half + half.T) * gaps)


@jax.custom_jvp
def solved_transposed(upper: jax.Array, b: jax.Array) -> jax.Array:
    """The solution x of `upper.T @ x = b` for an upper triangular matrix."""
    return _solved_transposed(upper, b)


@solved_transposed.defjvp
def _(primals: Any, tangents: Any) -> Any:
    x = solved_transposed(*primals)
    change = tangents[1] - _product(jnp.triu(tangents[0]).T, x)
    return x, _product(_inverse_transposed(primals[0]), change)


def _inverse_transposed(upper: jax.Array) -> jax.Array:
    """Of an upper triangular matrix. A product with it can be transposed, for the reverse mode; a solution cannot."""
    return solved_transposed(upper, jnp.eye(len(upper), dtype=upper.dtype))


def _inverse_gaps(values: jax.Array) -> jax.Array:
    """One over what each value (a column) exceeds each other (a row) by; 0 where they are equal to rounding."""
    gaps = values[None] - values[:, None]
    return quotient(1, jnp.where(jnp.abs(gaps) > _least(values), gaps, 0))


def _least(values: jax.Array) -> jax.Array:
    """What is 0 to rounding beside these values."""
    return 10 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


@one_by_one
def _eigh(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors


@one_by_one
def _orthonormal(a: jax.Array) -> jax.Array:
    return jnp.linalg.qr(a)[0]


@one_by_one
def _left_singular_vectors(a: jax.Array) -> jax.Array:
    return jnp.linalg.svd(a, full_matrices=False)[0]


@one_by_one
def _solved_transposed(upper: jax.Array, b: jax.Array) -> jax.Array:
    return solve_triangular(upper, b, trans="T")
