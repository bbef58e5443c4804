"""The mean of the largest frequencies of momenta."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optchain.compression.exchange import Axis, gathered, mean, names_of, scattered_like
from optchain.compression.feedback import AmongDevices, Compressed, Residual, left, with_residual
from optchain.compression.part import checked_density, count
from optchain.core.gather import scattered
from optchain.core.lift import lift
from optchain.core.numbers import Fraction, Static
from optchain.core.rule import rule


@rule
class DemoMean(Compressed):
    r"""Averages over devices what each sends: the largest frequencies of a momentum, which it takes out of it (DeMo).

    .. math::
        m_i \leftarrow b m_i + g_i, \qquad q_i = \operatorname{top}_k(\operatorname{DCT}(m_i)), \qquad
        u = \operatorname{DCT}^{-1}\Bigl(\frac 1 N \sum_{i=1}^N q_i\Bigr), \qquad
        m_i \leftarrow m_i - \operatorname{DCT}^{-1}(q_i)

    on each device i of N. The last two axes of a leaf, or its only one, are cut into chunks, each as long as the
    largest divisor of the axis up to `chunk`. The cosine transform (type II, orthonormal) is that of a chunk, in which
    entries compete by their magnitude. What changes fast is sent at once, the rest when it has grown.

    Fields:
        density: the part of the entries of a chunk that is sent, in (0, 1]; k is rounded to a whole number of at least
            1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        decay: b, in [0, 1]; with 1 it is error feedback alone.
        chunk: the most entries of a chunk along an axis, at least 1.

    What is sent: k values and k places of each chunk, of 2 bytes (4 in chunks of more than 65,536 entries), of each
    device to every other one. A leaf of which that would be no less than all of it is sent whole.

    Shapes and dtypes: any; the slot `residual` (m above) is like the parameter, in float32 or wider, and begins at 0.
    With an axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e36.

    Raises:
        ValueError: a density or a chunk out of its range; at `update`, a call where no such axis is, or gradients that
            have been summed over it.

    Differs from the paper: the learning rate and weight decay are links of their own. The sign that the authors' code
    takes of u is one too: `chain(demo_mean(...), scale_by_sign(), scale_by_learning_rate(1e-3))`. The momentum is that
    of the gradients, to which nothing else need add one.

    References:
        Peng et al., 2024, Algorithm 1. https://arxiv.org/abs/2411.19870

    >>> import optchain as oc
    >>> tx = oc.chain(oc.demo_mean(0.01, axis="data"), oc.scale_by_sign(), oc.scale_by_learning_rate(1e-3))
    """

    density: Static[float]
    axis: Static[Axis] = None
    decay: Fraction = 0.999
    chunk: Static[int] = 64

    example = {"density": 0.25}

    def __post_init__(self):
        checked_density("demo_mean", self.density)
        if self.chunk < 1:
            raise ValueError(f"demo_mean: chunk must be at least 1, got {self.chunk}")

    def update(self, g: jax.Array, s: Any, p: Any, t: jax.Array) -> tuple[jax.Array, Any]:
        x = with_residual(g, self.decay * s.residual)
        average, sent = self._exchanged(x, names_of(self.axis))
        return scattered(average, g), Residual(left(x - sent, s.residual))

    def _exchanged(self, x: jax.Array, names: tuple[str, ...]) -> tuple[jax.Array, jax.Array]:
        """The mean over the devices of what they have sent, and what this one has sent."""
        chunks = Chunks.of(x.shape, self.chunk)
        k, place = count(self.density, chunks.size), chunks.place
        if self._is_whole(chunks):
            return mean(x, names), x
        frequencies = chunks.frequencies(x)  # a row for each chunk
        places = lax.top_k(jnp.abs(frequencies), k)[1]
        values = jnp.take_along_axis(frequencies, places, axis=1)
        # As bytes: of two bytes XLA makes four on a CPU before it sends them.
        short = lax.bitcast_convert_type(places.astype(place), jnp.uint8)
        all_places = lax.bitcast_convert_type(gathered(short, names), place)
        all_values = gathered(values, names)
        first = jnp.broadcast_to(jnp.arange(len(values), dtype=jnp.int32)[:, None] * chunks.size, places.shape)
        where = (all_places.astype(jnp.int32) + first[None]).reshape(-1)
        flat = frequencies.reshape(-1)
        average = scattered_like(all_values.reshape(-1) / len(all_values), where, flat)
        sent = jnp.zeros_like(flat).at[(places + first).reshape(-1)].set(values.reshape(-1))
        return chunks.back(average), chunks.back(sent)

    def message(self, x):
        chunks = Chunks.of(x.shape, self.chunk)
        if self._is_whole(chunks):
            return x.size * x.dtype.itemsize
        each = count(self.density, chunks.size) * (x.dtype.itemsize + chunks.place().itemsize)
        return x.size // chunks.size * each

    def _is_whole(self, chunks: "Chunks") -> bool:
        """Whether values and places would be no less than the whole chunk."""
        return count(self.density, chunks.size) * (4 + chunks.place().itemsize) >= 4 * chunks.size


class Chunks:
    """A leaf cut into equal chunks, of its last two axes or of its only one."""

    def __init__(self, shape: tuple[int, ...], lengths: tuple[int, ...]) -> None:
        self.shape, self.lengths = shape, lengths
        self.size = math.prod(lengths)
        lead = shape[: len(shape) - len(lengths)]
        pairs = zip(shape[len(lead) :], lengths, strict=True)
        self.cut = (*lead, *(n for whole, length in pairs for n in (whole // length, length)))
        last = range(len(lead), len(self.cut))
        self.order = (*range(len(lead)), *last[::2], *last[1::2])  # which chunk, then which entry of it

    @property
    def place(self) -> Any:
        """The type of the place of an entry in its chunk."""
        return np.uint16 if self.size <= 2**16 else np.uint32

    @classmethod
    def of(cls, shape: tuple[int, ...], most: int) -> "Chunks":
        return cls(shape, tuple(_divisor(n, most) for n in shape[-2:]))

    def frequencies(self, x: jax.Array) -> jax.Array:
        """The transform of each chunk as a row."""
        x = x.reshape(self.cut).transpose(self.order)
        for axis, n in zip(range(-len(self.lengths), 0), self.lengths, strict=True):
            x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(cosines(n).T, x.dtype), -1, axis)
        return x.reshape(-1, self.size)

    def back(self, rows: jax.Array) -> jax.Array:
        """The leaf of which these are the transforms."""
        x = rows.reshape([self.cut[i] for i in self.order])
        for axis, n in zip(range(-len(self.lengths), 0), self.lengths, strict=True):
            x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(cosines(n), x.dtype), -1, axis)
        return x.transpose(np.argsort(self.order)).reshape(self.shape)


@functools.cache
def cosines(n: int) -> np.ndarray:
    """The orthonormal matrix of the cosine transform of type II: a row for each frequency."""
    k, i = np.mgrid[:n, :n]
    rows = np.sqrt(2 / n) * np.cos(np.pi * (2 * i + 1) * k / (2 * n))
    rows[0] /= np.sqrt(2)
    return rows


def _divisor(n: int, most: int) -> int:
    """The largest divisor of a length up to a limit."""
    return next((d for d in range(min(n, most), 0, -1) if n % d == 0), 1)


demo_mean = lift(DemoMean, "demo_mean", AmongDevices)
