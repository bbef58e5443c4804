"""Batches of a stream, read ahead while the steps before them are computed."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from optchain.lab.data import order
from optchain.lab.data.task import Streamed, Task
from optchain.lab.training.keys import keys_of_run
from optchain.lab.training.layout import Layout

BYTES = 32 * 2**20  # of the batches of one compiled call, of which about five are in memory at the same time
AHEAD = 2  # calls whose batches are read ahead
ENDLESS = 2**31 - 1


class Feed:
    """The batches of a run in the order of its steps.

    What is asked for next is foreseen: as many steps as the last time, after these. Anything else is right too, and
    is read when it is asked for.

    Args:
        task: whose training examples are a stream.
        batch: examples per step.
        layout: where the batches lie.
        balanced: whether the classes take turns.
    """

    def __init__(self, task: Task, batch: int, layout: Layout, balanced: bool = False) -> None:
        assert task.stream is not None
        self.stream, self.batch, self.layout = task.stream, batch, layout
        self.by_class = task.counted.by_class if balanced and task.counted is not None else None
        example = jax.tree.map(lambda x: x[:1], task.splits["train"])
        leaves, self.tree = jax.tree.flatten(example)
        self.kinds = [(x.shape[1:], x.dtype) for x in leaves]
        self.most = max(1, BYTES // (batch * sum(x.nbytes for x in leaves)))  # steps of one compiled call
        self._open: Any = None  # the iterator, and what it gives next
        self._next: Any = None

    def lengths(self, steps: int) -> list[int]:
        """So many steps as compiled calls: all of one length, but the last, which may be shorter."""
        length = math.ceil(steps / math.ceil(steps / self.most))
        return [min(length, steps - before) for before in range(0, steps, length)]

    def shapes(self, steps: int) -> Any:
        """The batches of so many steps, as shapes."""
        place = self.layout.streamed
        shapes = [jax.ShapeDtypeStruct((steps, self.batch, *shape), kind, sharding=place) for shape, kind in self.kinds]
        return jax.tree.unflatten(self.tree, shapes)

    def take(self, seed: int, seen: int, steps: int) -> Iterator[tuple[Any, int]]:
        """The batches of the next steps on the devices, call by call, each with its number of steps.

        Args:
            seed: of the run.
            seen: the examples before.
            steps: how many.
        """
        seen %= 2**32  # where the count of examples on the device begins again
        if self._next != (seed, seen, steps):
            self._begin(seed, seen, steps)
        self._next = None  # what an error leaves is not gone on with
        for length in self.lengths(steps):
            yield self._placed(next(self._open), length), length
        self._next = seed, (seen + steps * self.batch) % 2**32, steps

    def close(self) -> None:
        """Stop reading ahead."""
        if self._open is not None:
            self._open.close()
        self._open = self._next = None

    def _begin(self, seed: int, seen: int, steps: int) -> None:
        import grain

        self.close()
        key = np.uint32(order.seed_of(keys_of_run(seed)[2]))
        calls = Calls(
            self.stream, key, seen, self.lengths(steps), self.batch, _columns(self.layout, self.batch), self.by_class
        )
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
        data = grain.MapDataset.source(calls).to_iter_dataset(options)
        if self.stream.workers:
            from absl import flags

            flags.FLAGS.mark_as_parsed()  # Grain reads them in a worker, and no program of ours parses them
            data = data.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(self.stream.workers))
        self._open = iter(data)

    def _placed(self, leaves: list[np.ndarray], steps: int) -> Any:
        if self.layout.streamed is None:
            return jax.tree.unflatten(self.tree, jax.device_put(leaves))
        columns = _columns(self.layout, self.batch)

        def share(x: np.ndarray, index: Any) -> np.ndarray:
            return x[:, np.searchsorted(columns, np.arange(self.batch)[index[1]])]

        placed = [
            jax.make_array_from_callback(
                (steps, self.batch, *x.shape[2:]), self.layout.streamed, lambda index, x=x: share(x, index)
            )
            for x in leaves
        ]
        return jax.tree.unflatten(self.tree, placed)


class Calls:
    """A source whose element i is the batches of the compiled call i, as a list of arrays [steps, examples, ...].

    Args:
        stream: the examples.
        seed: of their order.
        seen: the examples before the first call.
        lengths: the steps of each call, over and over.
        batch: examples per step.
        columns: the places in a batch that this process holds.
        by_class: the rows of classes that take turns; None for epochs.
    """

    def __init__(
        self,
        stream: Streamed,
        seed: np.uint32,
        seen: int,
        lengths: list[int],
        batch: int,
        columns: np.ndarray,
        by_class: order.ByClass | None = None,
    ) -> None:
        self.stream, self.seed, self.seen, self.lengths = stream, seed, seen, lengths
        self.batch, self.columns, self.by_class = batch, columns, by_class

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> list[np.ndarray]:
        rounds, place = divmod(index, len(self.lengths))
        steps = self.lengths[place]
        first = self.seen + (rounds * sum(self.lengths) + sum(self.lengths[:place])) * self.batch
        first, count = first % 2**32, steps * self.batch  # positions are in uint32, as those of the device
        if self.by_class is None:
            rows = order.rows(self.seed, first, count, self.stream.size, np)
        else:
            rows = order.balanced(self.seed, first, count, self.by_class, np)
        own = rows.reshape(steps, self.batch)[:, self.columns]
        leaves = jax.tree.leaves(self.stream.read(own.reshape(-1)))
        return [x.reshape(*own.shape, *x.shape[1:]) for x in leaves]


def _columns(layout: Layout, batch: int) -> np.ndarray:
    """The places in a batch whose examples are on devices of this process."""
    if layout.streamed is None:
        return np.arange(batch)
    places: Any = layout.streamed.addressable_devices_indices_map((1, batch)).values()
    return np.unique(np.concatenate([np.arange(batch)[index[1]] for index in places]))
