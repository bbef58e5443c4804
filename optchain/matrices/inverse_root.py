"""Inverse roots of symmetric matrices."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import quotient
from optchain.matrices.lapack import eigh


@jax.custom_jvp
def inverse_root(a: jax.Array, exponent: Any, eps: Any) -> jax.Array:
    r"""The power :math:`(A + \epsilon \lambda_{max} I)^{-exponent}` of a semidefinite matrix; 0 of the zero matrix.

    The eigenvalues are exact to about 1e-7 of the largest one in float32, so that an `eps` below that lets rounding
    errors decide how long a step is where the matrix is singular.
    """
    values, vectors = eigh(a)
    return _with_values(vectors, _powers(_ridged(values, eps), exponent))


@inverse_root.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """The derivative, also where eigenvalues are equal: that of the power takes the place of its divided difference."""
    (a, exponent, eps), (change, exponent_change, eps_change) = primals, tangents
    values, vectors = eigh(a)
    ridged = _ridged(values, eps)
    powers = _powers(ridged, exponent)
    slopes = -exponent * quotient(powers, ridged)
    turned = jnp.matmul(
        vectors.T, jnp.matmul((change + change.T) / 2, vectors, precision="highest"), precision="highest"
    )
    gaps, sums = ridged[:, None] - ridged[None], ridged[:, None] + ridged[None]
    near = jnp.abs(gaps) < jnp.finfo(a.dtype).eps ** (1 / 3) * sums
    middle = -exponent * quotient(_powers(sums / 2, exponent), sums / 2)
    rises = jnp.where(near, middle, quotient(powers[:, None] - powers[None], gaps))
    rises = jnp.where((values[:, None] > 0) | (values[None] > 0), rises, 0)
    ridge = eps_change * jnp.maximum(values[-1], 0) + eps * jnp.where(values[-1] > 0, turned[-1, -1], 0)
    along = slopes * ridge - exponent_change * powers * jnp.log(jnp.where(ridged > 0, ridged, 1))
    middle = rises * turned + jnp.diag(along)
    left = jnp.matmul(vectors, middle, precision="highest")
    return _with_values(vectors, powers), jnp.matmul(left, vectors.T, precision="highest")


def _ridged(values: jax.Array, eps: Any) -> jax.Array:
    """The eigenvalues, of which rounding may have made some negative, with the ridge."""
    values = jnp.maximum(values, 0)
    return values + eps * jnp.max(values)


def _powers(values: jax.Array, exponent: Any) -> jax.Array:
    return jnp.where(values > 0, jnp.where(values > 0, values, 1) ** -exponent, 0)


def _with_values(vectors: jax.Array, values: jax.Array) -> jax.Array:
    """The symmetric matrix of these eigenvectors and eigenvalues."""
    return jnp.matmul(vectors * values[None], vectors.T, precision="highest")
