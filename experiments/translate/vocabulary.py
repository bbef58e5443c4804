"""Words and their numbers."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

PAD, BEGIN, END, UNKNOWN = range(4)
MARKS = ("<pad>", "<begin>", "<end>", "<unknown>")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words by number, the marks first, then the most frequent words."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], least: int = 1) -> "Vocabulary":
        """The words that stand at least so many times in sentences."""
        counts = collections.Counter(word for sentence in sentences for word in sentence)
        ranked = sorted((-count, word) for word, count in counts.items() if count >= least)
        return cls((*MARKS, *(word for _, word in ranked)))

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, sentences: Sequence[Sequence[str]], length: int) -> np.ndarray:
        """Numbers, int32[sentences, length]: those of the words, the end, and padding.

        Args:
            sentences: of fewer than `length` words.
            length: of each row.
        """
        rows = np.full((len(sentences), length), PAD, np.int32)
        for row, sentence in zip(rows, sentences, strict=True):
            row[: len(sentence)] = [self._numbers.get(word, UNKNOWN) for word in sentence]
            row[len(sentence)] = END
        return rows

    def decode(self, rows: np.ndarray) -> list[str]:
        """The words of each row up to its end, separated by spaces."""
        return [" ".join(self.words[number] for number in ended(row.tolist())) for row in rows]


def ended(row: Sequence[int]) -> Sequence[int]:
    """What comes before the end of a row."""
    return row[: next((i for i, number in enumerate(row) if number in (END, PAD)), len(row))]
