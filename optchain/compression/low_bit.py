"""The mean by a sum of codes of few bits."""

import math

import jax.numpy as jnp
from jax import lax

from optchain.compression.exchange import Axis, devices, exchanged, gathered, mean, names_of, number
from optchain.compression.feedback import AmongDevices, Compressed
from optchain.compression.linear import checked_bits, is_whole, linear, message
from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.rule import rule
from optchain.storage.codes import Packed


@rule
class LowBitMean(Compressed):
    r"""Averages gradients and residuals over devices, each of which adds up one part; what is sent are low-bit codes.

    .. math::
        x_i = g_i + e_i, \qquad q_i = Q(x_i), \qquad m = \frac 1 N \sum_{i=1}^N q_i, \qquad u = Q(m), \qquad
        e_i \leftarrow x_i - q_i + N (m - u) \text{ at the entries that device } i \text{ adds up}

    on each device i of N, for each leaf. :math:`Q` rounds to even levels, 127 or 7 of each sign, of the largest entry
    of its block of at most 512. Device i receives its part of all :math:`q_j`, adds them up in float32, and sends the
    mean in a code again. Both errors are fed back: the mean over the devices of all that has been sent and of
    :math:`e_i` is that of the gradients.

    Fields:
        bits: of a level with its sign, 8 or 4.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: the codes of a leaf once to the devices that add them up and once back, regardless of their number:
    a quarter of what a mean of float32 sends with 8 bits, an eighth with 4. A leaf so small that codes and scales would
    take more room than it is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: other bits; at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: it has no residuals, and no second code, because each device needs its part alone there.

    References:
        Wang et al., 2023 (qgZ). https://arxiv.org/abs/2306.10209

    >>> import optchain as oc
    >>> tx = oc.chain(oc.low_bit_mean(axis="data"), oc.sgd(0.1))
    """

    bits: Static[int] = 8
    axis: Static[Axis] = None

    def __post_init__(self):
        checked_bits("low_bit_mean", self.bits)

    def exchange(self, x, t):
        names, code = names_of(self.axis), linear(self.bits, random=False)
        n = devices(names)
        length = math.ceil(x.size / n)  # of the part that one device adds up
        if is_whole(code, (n, length), x.size):
            return mean(x, names), x
        parts = jnp.pad(x.astype(jnp.float32), (0, n * length - x.size)).reshape(n, length)
        own = code.encode(parts)
        received = Packed(*(exchanged(y, names) for y in own))
        average = jnp.mean(code.decode(received, (n, length)), axis=0)
        coded = code.encode(average)
        error = n * (average - code.decode(coded, (length,)))
        sent = code.decode(own, (n, length))
        here = number(names)
        sent = lax.dynamic_update_index_in_dim(sent, sent[here] - error, here, 0)
        whole = code.decode(Packed(*(gathered(y, names) for y in coded)), (n, length))
        whole, sent = (y.reshape(-1)[: x.size].astype(x.dtype) for y in (whole, sent))
        return whole, sent

    def message(self, x):
        return message(linear(self.bits, random=False), x)


low_bit_mean = lift(LowBitMean, "low_bit_mean", AmongDevices)
