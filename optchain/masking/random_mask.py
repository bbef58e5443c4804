"""Updates of random entries."""

from typing import Annotated

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Range, Scalar, Seed, Static
from optchain.core.rule import rule
from optchain.storage.rounding import random_bits


@rule
class RandomMask:
    r"""Keeps random entries of the update, other ones at each step.

    .. math::
        u = \begin{cases} g & \text{where } x < \rho \\ 0 & \text{elsewhere} \end{cases}, \qquad x \sim \mathcal U(0, 1)

    Fields:
        density: :math:`\rho`, the probability with which an entry is kept, in (0, 1].
        rescale: divide what is kept by :math:`\rho`, so that the update is right on average.
        seed: of the random numbers, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own seed. They are a hash of seed, count, path and element: the same
            however arrays are sharded, and others for each leaf. Stacked layers are one leaf.

    Shapes and dtypes: any.

    Differs from the paper: each entry is kept with the same probability, where the paper keeps large ones more often.

    References:
        Wangni et al., 2017, section 2. https://arxiv.org/abs/1710.09854

    >>> import optchain as oc
    >>> tx = oc.chain(oc.keep_random(0.1, rescale=True), oc.sgd(0.1))
    """

    density: Annotated[Scalar, Range("(0, 1]")]
    rescale: Static[bool] = False
    seed: Seed = 0

    extras = ("path",)
    on_shards = True
    example = {"density": 1.0}  # the laws compare leaves of other paths, which have other random numbers

    def update(self, g, s, p, t, path):
        drawn = (random_bits(g.shape, self.seed, t, path) >> 8).astype(jnp.float32) * 2.0**-24
        kept = g / self.density if self.rescale else g
        return jnp.where(drawn < self.density, kept, 0).astype(g.dtype), s


keep_random = lift(RandomMask, "keep_random")
