"""Text: the Python standard library's own documentation and sources, byte by byte; nothing is downloaded."""

import dataclasses
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics
from typing import Annotated

import numpy as np
from pydantic import Field

from optchain import lab

# One file each in Python 3.11 to 3.14. Their text, and so the data, differ a little from version to version.
MODULES = ("argparse", "calendar", "contextlib", "difflib", "functools", "heapq", "random", "statistics")
REGION = 32  # neighbouring windows that stay in one split: near each other, texts repeat themselves


@dataclasses.dataclass(frozen=True)
class Text:
    """Windows of bytes, int32[n, context], and the byte that follows each of theirs; no two windows overlap.

    The loss is the mean cross entropy of a window's next bytes in nats: divided by log 2, the bits for each byte.
    """

    context: Annotated[int, Field(gt=0)] = 64  # bytes of a window

    def load(self) -> lab.Examples:
        """The windows, of which those near each other are a group."""
        windows = cut(corpus(), self.context)
        return lab.Examples(
            windows[:, :-1],
            windows[:, 1:],
            labels=range(256),
            names=("next_byte",),
            groups=np.arange(len(windows)) // REGION,
            steps=None,
            ids=256,
        )


def corpus() -> bytes:
    """The topics of `help()`, by name, and then the sources of `MODULES`."""
    folder = Path(sysconfig.get_path("stdlib"))
    texts = [topics[name].encode() for name in sorted(topics)]
    return b"\n".join([*texts, *((folder / f"{name}.py").read_bytes() for name in MODULES)])


def cut(text: bytes, context: int) -> np.ndarray:
    """Windows of one byte more than the context, for the targets, end to end; a shorter rest is left out."""
    length = context + 1
    count = len(text) // length
    return np.frombuffer(text, np.uint8, count * length).reshape(count, length).astype(np.int32)
