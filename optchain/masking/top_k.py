"""Sparse updates that forget nothing."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.gather import gathered, scattered
from optchain.core.lift import lift
from optchain.core.numbers import Range, Scalar, Static
from optchain.core.rule import rule
from optchain.masking.largest import largest, share


class Residual(NamedTuple):
    residual: jax.Array  # like p, what has been held back so far


@rule
class TopK:
    r"""Keeps the largest entries of each leaf's update, and adds what it holds back to the next one.

    .. math::
        a = r + g, \qquad u = \operatorname{top}_k(a), \qquad r \leftarrow a - u, \qquad k = \rho n

    where n entries of a leaf compete by their magnitude; of equal ones those with the lower index are kept.

    Fields:
        density: :math:`\rho`, the part of the entries that is kept, in (0, 1]; k is rounded to a whole number.
        error_feedback: remember r; without it what is held back is lost, and there is no slot.

    Shapes and dtypes: any; the slot `residual` is like the parameter and begins at 0, in float32 or wider. It sorts
    each leaf.

    Differs from the paper: r is that of updates as they come; in the paper they are gradients times the learning rate,
    which they are here after a link with the rate.

    References:
        Stich et al., 2018, Algorithm 1. https://arxiv.org/abs/1809.07599
        Aji and Heafield, 2017, Algorithm 1. https://arxiv.org/abs/1704.05021

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1), oc.keep_top_k(0.01))
    """

    density: Annotated[Scalar, Range("(0, 1]")]
    error_feedback: Static[bool] = True

    core_ndim = None
    example = {"density": 0.5}

    def init(self, p):
        return Residual(jnp.zeros_like(p)) if self.error_feedback else ()

    def update(self, g, s, p, t):
        a = s.residual + g if self.error_feedback else g
        # A sort has no layout across a sharded axis.
        size = jnp.abs(gathered(a, 0)).reshape(-1)
        kept = scattered(largest(size, share(self.density, a.size)).reshape(a.shape), a)
        return jnp.where(kept, a, 0), Residual(jnp.where(kept, 0, a)) if self.error_feedback else s


keep_top_k = lift(TopK, "keep_top_k")
