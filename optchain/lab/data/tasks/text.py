"""Text: the Python standard library's own documentation and sources, byte by byte; nothing is downloaded."""

import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
from optax.losses import softmax_cross_entropy

from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Split, Task
from optchain.lab.data.tasks.classification import mean_of_many
from optchain.lab.settings import tables

# One file each in Python 3.11 to 3.14. Their text, and so the data, differ a little from version to version.
MODULES = ("argparse", "calendar", "contextlib", "difflib", "functools", "heapq", "random", "statistics")
REGION = 32  # neighbouring windows that stay in one split: near each other, texts repeat themselves


def load(table: tables.Task) -> Task:
    """Windows of bytes, int32[n, context], and the byte that follows each of theirs; no two windows overlap.

    The loss is the mean cross entropy of a window's next bytes in nats: divided by log 2, the bits for each byte.
    """
    if table.folds:
        raise InputError("task.folds: neighbouring windows of a text are alike; expected task.validation instead")
    windows, rows = cut(corpus(), table), {}
    order = _regions(len(windows), table.seed)
    for name in ("test", "validation"):
        held = getattr(table, name)
        if held >= len(order):
            raise InputError(f"task.{name}: {held} of {len(windows)} windows of {table.context} bytes leave none")
        rows[name], order = order[:held], order[held:]
    rows = {"train": order, **{name: rows[name] for name in ("validation", "test") if len(rows[name])}}
    return Task(
        splits={name: _next_bytes(windows[at]) for name, at in rows.items()},
        rows=rows,
        outputs=256,
        # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
        loss=lambda outputs, targets: softmax_cross_entropy(outputs, jax.nn.one_hot(targets, 256)).mean(-1),
        metric=lambda outputs, targets: (outputs.argmax(-1) == targets).astype(jnp.float32).mean(-1),
        metric_name="next_byte_accuracy",
        together=mean_of_many,
        answer=_answer,
        prepare=_prepare,
        shape=(windows.shape[1] - 1,),
        classes=256,
    )


def corpus() -> bytes:
    """The topics of `help()`, by name, and then the sources of `MODULES`."""
    folder = Path(sysconfig.get_path("stdlib"))
    texts = [topics[name].encode() for name in sorted(topics)]
    return b"\n".join([*texts, *((folder / f"{name}.py").read_bytes() for name in MODULES)])


def cut(text: bytes, table: tables.Task) -> np.ndarray:
    """Windows of one byte more than the context, for the targets, end to end; a shorter rest is left out."""
    length = (table.context or 0) + 1
    count = len(text) // length
    return np.frombuffer(text, np.uint8, count * length).reshape(count, length).astype(np.int32)


def _regions(count: int, seed: int) -> np.ndarray:
    """The windows in runs of `REGION` neighbours, the runs in random order."""
    starts = np.arange(0, count, REGION)
    order = np.random.default_rng(seed).permutation(starts)
    return np.concatenate([np.arange(first, min(first + REGION, count)) for first in order])


def _next_bytes(windows: np.ndarray) -> Split:
    return windows[:, :-1], windows[:, 1:]


def _answer(outputs: np.ndarray) -> dict[str, np.ndarray]:
    """What follows the last byte of each row."""
    last = outputs[:, -1]
    likely = np.exp(last - last.max(-1, keepdims=True))
    return {"next_byte": last.argmax(-1), "probability": likely.max(-1) / likely.sum(-1)}


def _prepare(rows: np.ndarray) -> np.ndarray:
    wrong = rows[(rows != np.round(rows)) | (rows < 0) | (rows > 255)]
    if wrong.size:
        raise InputError(f"text is read as bytes, whole numbers from 0 to 255; got {wrong[0]:g}")
    return rows.astype(np.int32)
