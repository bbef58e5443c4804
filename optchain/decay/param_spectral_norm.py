"""A bound on the largest singular value of matrices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Positive, Seed, Static, whole
from optchain.core.numerics import clip_factor, norm, quotient
from optchain.core.rule import rule
from optchain.core.seeds import key_of


class Singular(NamedTuple):
    """What the power iteration goes on from."""

    right: jax.Array  # near the right singular vector of the largest singular value, one number for each column


@rule
class SpectralNorm:
    r"""Shortens the update so that the largest singular value of each matrix stays within a bound.

    .. math::
        W = p + g, \qquad a = \frac{W v}{\|W v\|}, \qquad \sigma = \|W^T a\|, \qquad v \leftarrow \frac{W^T a}{\sigma},
        \qquad u = \min\left(1, \frac{c}{\sigma}\right) W - p

    It is the last link of a chain: the incoming update must be the step that is taken. One step of power iteration from
    the last vector follows the largest singular value as the matrix changes. Until the vector has turned there,
    :math:`\sigma` is too small, never too large: the norm may exceed the bound in the first steps, and for a few steps
    where another singular value becomes the largest.

    Fields:
        max_norm: c, in the units of the parameter, > 0. With 1 a layer makes no difference of its inputs longer.
        steps: of power iteration in each update, at least 1; more follow a fast change sooner.
        seed: of the normal numbers that :math:`v` begins with, a whole number or a key of `jax.random`, which may be
            traced.

    Shapes and dtypes: matrices; the slot `right` has one number for each column, in float32 or wider. It reads the
    parameters: `update` without them is an error. For kernels of convolutions, which the paper sees as matrices of
    inputs by outputs, give a view with `as_matrices`.

    Raises:
        ValueError: steps below 1.

    Differs from the paper: the parameters themselves are scaled, and only where they exceed the bound, which is the
    projection of Gouk et al.; Miyato et al. divide by :math:`\sigma` in the forward pass, whatever it is.

    References:
        Miyato et al., 2018, Algorithm 1. https://arxiv.org/abs/1802.05957
        Gouk et al., 2018, Algorithm 1. https://arxiv.org/abs/1804.04368

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1, momentum=0.9), oc.keep_params_spectral_norm(1.0, mask="*/kernel"))
    """

    max_norm: Positive
    steps: Static[int] = 1
    seed: Seed = 0

    core_ndim = 2
    batched = True
    needs_params = True
    example = {"max_norm": 1.0, "mask": is_kernel}

    def init(self, p):
        whole("keep_params_spectral_norm", "steps", self.steps, 1)
        right = jax.random.normal(key_of(self.seed), (p.shape[1],), p.dtype)
        return Singular(right / norm(right))

    def axes(self, p):
        return {"right": (1,)}

    def update(self, g, s, p, t):
        after, right = p + g, s.right
        # In units of the largest entry no product overflows.
        unit, size = jnp.max(jnp.abs(after), initial=0), jnp.zeros((), p.dtype)
        scaled = quotient(after, unit)
        for _ in range(self.steps):
            left = scaled @ right
            turned = scaled.T @ quotient(left, norm(left))
            size = norm(turned)
            right = jnp.where(size > 0, quotient(turned, size), right)  # of a matrix of zeros there is no direction
        factor = clip_factor(unit * size, self.max_norm)
        # In this form an update within the bound passes exactly.
        return factor * g + (factor - 1) * p, Singular(right)


keep_params_spectral_norm = lift(SpectralNorm, "keep_params_spectral_norm")
