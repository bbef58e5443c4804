"""Inverse roots of symmetric matrices."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.matrices.lapack import eigh


def inverse_root(a: jax.Array, exponent: Any, eps: Any) -> jax.Array:
    r"""The power :math:`(A + \epsilon \lambda_{max} I)^{-exponent}` of a semidefinite matrix; 0 of the zero matrix.

    The eigenvalues are exact to about 1e-7 of the largest one in float32, so that an `eps` below that lets rounding
    errors decide how long a step is where the matrix is singular.
    """
    values, vectors = eigh(a)
    values = jnp.maximum(values, 0)
    values = values + eps * jnp.max(values)
    powers = jnp.where(values > 0, jnp.where(values > 0, values, 1) ** -exponent, 0)
    return jnp.matmul(vectors * powers[None], vectors.T, precision="highest")
