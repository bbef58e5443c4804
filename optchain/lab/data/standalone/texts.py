"""Texts as rows of bytes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts, of which so many bytes are read."""

    length: int
    last: bool = False  # whether these are the last bytes, of which none may be missing; else the first, filled up by 0

    def takes(self, raw: Any) -> bool:
        """Whether inputs are a sequence of texts."""
        return isinstance(raw, list | tuple) and all(isinstance(text, str | bytes) for text in raw)

    def read(self, path: Path) -> list[bytes]:
        """The text of a file."""
        return [path.read_bytes()]

    def __call__(self, raw: Sequence[str | bytes]) -> np.ndarray:
        """A row of bytes for each text.

        Raises:
            ValueError: a text is too short.
        """
        rows = np.zeros((len(raw), self.length), np.int32)
        for row, text in zip(rows, raw, strict=True):
            code = text.encode() if isinstance(text, str) else text
            if self.last and len(code) < self.length:
                raise ValueError(f"has {len(code)} bytes; expected at least {self.length}, the context of the model")
            code = code[-self.length :] if self.last else code[: self.length]
            row[: len(code)] = np.frombuffer(code, np.uint8)
        return rows
