"""The least value on the simplex of a linear function plus a norm: two weights are moved at a time, exactly."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import quotient, sqrt


def least(products: jax.Array, slopes: jax.Array, norm_factor: Any, exchanges: int) -> jax.Array:
    r"""The weights of the simplex that make :math:`b^\top w + \kappa \sqrt{w^\top M w}` least, with M positive
    semidefinite.

    Each exchange moves weight from the one whose derivative is the largest, among those above 0, to the one whose
    derivative is the least, as far as the function falls along that line, which is known in closed form. The number of
    exchanges is fixed, so that derivatives pass through them; where there is nothing to gain, nothing moves.

    Args:
        products: M, (K, K).
        slopes: b, (K,).
        norm_factor: :math:`\kappa`, at least 0.
        exchanges: how many.
    """
    size = len(slopes)
    ones = jnp.eye(size, dtype=products.dtype)

    def exchange(w: jax.Array, _: None) -> tuple[jax.Array, None]:
        norm = sqrt(jnp.maximum(w @ products @ w, 0))
        derivatives = slopes + norm_factor * quotient(products @ w, norm)
        giver = jnp.argmax(jnp.where(w > 0, derivatives, -jnp.inf))
        taker = jnp.argmin(derivatives)
        along = ones[taker] - ones[giver]
        # On the line the norm is sqrt(curved ((x - vertex)^2 + offset)), at the distance x from here.
        curved, tilt = jnp.maximum(along @ products @ along, 0), along @ products @ w
        vertex = -quotient(tilt, curved)
        offset = jnp.maximum(quotient(norm**2, curved) - vertex**2, 0)
        slope = slopes[taker] - slopes[giver]
        steep = quotient(-slope, norm_factor * sqrt(curved))  # of the root, where the sum of both derivatives is 0
        inside = jnp.abs(steep) < 1
        best = vertex + quotient(steep, sqrt(jnp.where(inside, 1 - steep**2, 1))) * sqrt(offset)
        flat = (curved == 0) | (norm_factor == 0)
        whole_way = jnp.where(flat, slope < 0, steep >= 1)
        moved = jnp.where(inside & ~flat, jnp.clip(best, 0, w[giver]), jnp.where(whole_way, w[giver], 0))
        return w + moved * along, None

    start = jnp.full(size, 1 / size, products.dtype)
    return jax.lax.scan(exchange, start, None, length=exchanges)[0]
