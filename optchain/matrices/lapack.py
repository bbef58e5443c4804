"""Decompositions that are safe under `vmap` on CPUs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.scipy.linalg import solve_triangular

from optchain.core.gather import gathered


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


@one_by_one
def eigh(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns."""
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors


@one_by_one
def orthonormal(a: jax.Array) -> jax.Array:
    """The orthonormal factor of the QR decomposition."""
    return jnp.linalg.qr(a)[0]


@one_by_one
def left_singular_vectors(a: jax.Array) -> jax.Array:
    """The left singular vectors as columns, as many as the shorter side is long."""
    return jnp.linalg.svd(a, full_matrices=False)[0]


@one_by_one
def solved_transposed(upper: jax.Array, b: jax.Array) -> jax.Array:
    """The solution x of `upper.T @ x = b` for an upper triangular matrix."""
    return solve_triangular(upper, b, trans="T")
