"""The mean of the largest entries."""

import jax.numpy as jnp
from jax import lax

from optchain.compression.exchange import Axis, gathered, mean, names_of, scattered_like
from optchain.compression.feedback import AmongDevices, Compressed
from optchain.compression.part import checked_density, count
from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.rule import rule

PLACE = 4  # bytes of an int32


@rule
class TopKMean(Compressed):
    r"""Averages over devices what each sends: the largest entries of its gradient and of what it has not sent before.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \operatorname{top}_k(x_i), \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf, where entries compete by their magnitude.

    Fields:
        density: the part of the entries that is sent, in (0, 1]; k is rounded to a whole number of at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: k values and k int32 places of each device to every other one. That is less than a mean of whole
    leaves sends as long as `density` is below 1/N. A leaf of which more than half would be sent is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. It sorts each leaf. Entries of g up to 1e37.

    Raises:
        ValueError: a density out of its range; at `update`, a call where no such axis is, or gradients that have been
            summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.

    References:
        Stich et al., 2018, Algorithm 2. https://arxiv.org/abs/1809.07599
        Karimireddy et al., 2019, Algorithm 2. https://arxiv.org/abs/1901.09847

    >>> import optchain as oc
    >>> tx = oc.chain(oc.top_k_mean(0.01, axis="data"), oc.clip_by_global_norm(1.0), oc.sgd(0.1))
    """

    density: Static[float]
    axis: Static[Axis] = None

    example = {"density": 0.25}

    def __post_init__(self):
        checked_density("top_k_mean", self.density)

    def exchange(self, x, t):
        names, k = names_of(self.axis), count(self.density, x.size)
        if _is_whole(k, x.size):
            return mean(x, names), x
        places = lax.top_k(jnp.abs(x), k)[1]
        values = x[places]
        all_values, all_places = gathered(values, names), gathered(places, names)
        parts = all_values.reshape(-1) / len(all_values)
        return scattered_like(parts, all_places.reshape(-1), x), jnp.zeros_like(x).at[places].set(values)

    def message(self, x):
        k, each = count(self.density, x.size), x.dtype.itemsize
        return x.size * each if _is_whole(k, x.size) else k * (each + PLACE)


def _is_whole(k: int, size: int) -> bool:
    """Whether values and places would be no less than the whole leaf."""
    return 2 * k >= size


top_k_mean = lift(TopKMean, "top_k_mean", AmongDevices)
