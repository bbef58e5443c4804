"""The mean of signs."""

import math

import jax.numpy as jnp

from optchain.compression.exchange import Axis, gathered, mean, names_of
from optchain.compression.feedback import AmongDevices, Compressed
from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.numerics import quotient
from optchain.core.rule import rule


@rule
class SignMean(Compressed):
    r"""Averages over devices what each sends: a bit for each entry, the sign, and one scale, of gradient and residual.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \frac{\|x_i\|_1}{n} \operatorname{sign}(x_i), \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf of n entries.

    Fields:
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: n/8 bytes and one float32 of each device to every other one. A mean of whole leaves sends up to 8
    bytes for each entry, regardless of the number of devices: from 64 devices on this is more. A leaf of one entry is
    sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.
    The sign of 0 is 1, because there is no third value of a bit; the error is as large.

    References:
        Karimireddy et al., 2019, Algorithms 1 and 2. https://arxiv.org/abs/1901.09847

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sign_mean(axis="data"), oc.sgd(0.1))
    """

    axis: Static[Axis] = None

    def exchange(self, x, t):
        names, n = names_of(self.axis), x.size
        if n == 1:
            return mean(x, names), x
        size = jnp.abs(x)
        largest = jnp.max(size)
        scale = largest * jnp.mean(quotient(size, largest))
        positive = x >= 0
        scales, bits = gathered(scale, names), gathered(jnp.packbits(positive), names)
        signs = jnp.where(jnp.unpackbits(bits, axis=-1, count=n) > 0, scales[:, None], -scales[:, None])
        return jnp.mean(signs, axis=0), jnp.where(positive, scale, -scale)

    def message(self, x):
        return x.dtype.itemsize if x.size == 1 else math.ceil(x.size / 8) + x.dtype.itemsize


sign_mean = lift(SignMean, "sign_mean", AmongDevices)
