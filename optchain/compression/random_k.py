"""The mean of random entries."""

import jax.numpy as jnp
from jax import lax

from optchain.compression.exchange import Axis, mean, names_of, scattered_like
from optchain.compression.feedback import AmongDevices, Compressed
from optchain.compression.part import checked_density, count
from optchain.core.lift import lift
from optchain.core.numbers import Seed, Static
from optchain.core.rule import rule
from optchain.storage.rounding import random_bits


@rule
class RandomKMean(Compressed):
    r"""Averages over devices what each sends: random entries, the same on all, of its gradient and what it kept back.

    .. math::
        x_i = g_i + e_i, \qquad s_i = x_i \text{ at k random places}, \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf. The places are other ones in each step.

    Fields:
        density: the part of the entries that is sent, in (0, 1]; k is rounded to a whole number of at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the places, a whole number or a key of `jax.random`, which may be traced; the same on all devices. They
            are a hash of seed, count and element.

    What is sent: a sum of k values over the devices, regardless of their number; all know the places.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: a density out of its range; at `update`, a call where no such axis is, or gradients that have been
            summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.
    The paper's devices draw places of their own.

    References:
        Stich et al., 2018, Algorithm 2. https://arxiv.org/abs/1809.07599

    >>> import optchain as oc
    >>> tx = oc.chain(oc.random_k_mean(0.05, axis="data"), oc.sgd(0.1))
    """

    density: Static[float]
    axis: Static[Axis] = None
    seed: Seed = 0

    example = {"density": 0.25}

    def __post_init__(self):
        checked_density("random_k_mean", self.density)

    def exchange(self, x, t):
        names, k = names_of(self.axis), count(self.density, x.size)
        if k == x.size:
            return mean(x, names), x
        places = lax.top_k(random_bits(x.shape, self.seed, t, ""), k)[1]
        values = x[places]
        return scattered_like(mean(values, names), places, x), jnp.zeros_like(x).at[places].set(values)

    def message(self, x):
        return count(self.density, x.size) * x.dtype.itemsize


random_k_mean = lift(RandomKMean, "random_k_mean", AmongDevices)
