"""The mean of stochastic levels."""

import jax
import jax.numpy as jnp

from optchain.compression.exchange import Axis, gathered, mean, names_of, number
from optchain.compression.feedback import AmongDevices, Compressed
from optchain.compression.linear import checked_bits, is_whole, linear, message
from optchain.core.lift import lift
from optchain.core.numbers import Seed, Static
from optchain.core.rule import rule
from optchain.core.whole import part_from
from optchain.storage.codes import Packed
from optchain.storage.rounding import random_bits


@rule
class QsgdMean(Compressed):
    r"""Averages over devices what each sends: gradient and residual, rounded at random to levels of a few bits.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \operatorname{sign}(x_i) \frac{\|x_i\|_\infty}{L} \xi(L |x_i| / \|x_i\|_\infty),
        \qquad u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each block of 512 entries of a leaf. :math:`\xi` rounds up or down with the probability
    that makes it exact on average; L is 7 for 4 bits and 127 for 8.

    Fields:
        bits: of a level with its sign, 4 or 8.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the rounding, a whole number or a key of `jax.random`, which may be traced. It is a hash of seed,
            count, device and element.

    What is sent: the levels, two of 4 bits in a byte, and one float32 for each block, of each device to every other
    one. That is less than a mean of whole leaves sends for up to 15 devices with 4 bits and 7 with 8; `low_bit_mean`
    sends as much regardless of their number. A leaf whose levels and scales would take more room than it is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: other bits; at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: what rounding has left out is fed back. The scale of a block is its largest entry in the
    place of its norm, so that the residual of an entry is always below one level. Levels have a fixed number of bits
    in the place of Elias codes.

    References:
        Alistarh et al., 2016, section 3. https://arxiv.org/abs/1610.02132

    >>> import optchain as oc
    >>> tx = oc.chain(oc.qsgd_mean(bits=4, axis="data"), oc.sgd(0.1))
    """

    bits: Static[int] = 4
    axis: Static[Axis] = None
    seed: Seed = 0

    def __post_init__(self):
        checked_bits("qsgd_mean", self.bits)

    def exchange(self, x, t):
        names, code = names_of(self.axis), linear(self.bits, random=True)
        if is_whole(code, x.shape, x.size):
            return mean(x, names), x
        place = jnp.asarray(number(names)).astype(jnp.uint32) * jnp.uint32(x.size)
        with part_from(place):  # the devices' gradients, one after another
            bits = random_bits(x.shape, self.seed, t, "")
        own = code.encode(x.astype(jnp.float32), bits)
        parts = jax.vmap(lambda *packed: code.decode(Packed(*packed), x.shape))(*(gathered(y, names) for y in own))
        return jnp.mean(parts, axis=0).astype(x.dtype), code.decode(own, x.shape).astype(x.dtype)

    def message(self, x):
        return message(linear(self.bits, random=True), x)


qsgd_mean = lift(QsgdMean, "qsgd_mean", AmongDevices)
