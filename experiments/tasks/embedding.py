"""Click-through: examples of a few ids each, most of them rare, generated; whether they are clicked on."""

import dataclasses

import numpy as np

from optchain import lab

FIELDS = 8  # ids of an example, each from a range of its own
FACTORS = 4  # of the hidden vectors whose inner products decide


@dataclasses.dataclass(frozen=True)
class Clicks:
    """Ids, int32[n, 8], and whether each example was clicked on.

    In every field the n-th id is drawn about 1 / n as often as the first. Behind each id stand a number and a vector,
    normal, and an example is clicked on with a probability whose logit is the sum of the numbers and of the inner
    products of all pairs of vectors: a factorization machine, which the network has to find.
    """

    examples: int  # in all
    ids: int  # of which the embedding has a row each
    seed: int = 0

    def load(self) -> lab.Examples:
        """The examples, of which a table has a row for each id."""
        ids, clicked = generate(self.examples, self.ids, self.seed)
        return lab.Examples(ids, clicked, labels=[0, 1], names=("clicks",), ids=self.ids, steps=None, stratify=False)


def generate(examples: int, ids: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids of each example and its click, by a generator of their own."""
    draw = np.random.Generator(np.random.PCG64(seed))
    first, last = np.linspace(0, ids, FIELDS + 1).astype(int)[:-1], np.linspace(0, ids, FIELDS + 1).astype(int)[1:]
    columns = []
    for low, high in zip(first, last, strict=True):
        columns.append(low + zipf(draw, high - low, examples))
    rows = np.stack(columns, axis=1).astype(np.int32)
    effects, vectors = draw.normal(0, 0.5, ids), draw.normal(0, 0.4, (ids, FACTORS))
    summed = vectors[rows].sum(1)
    pairs = ((summed**2).sum(-1) - (vectors[rows] ** 2).sum((1, 2))) / 2
    probability = 1 / (1 + np.exp(-(effects[rows].sum(-1) + pairs)))
    return rows, (draw.random(examples) < probability).astype(np.int32)


def zipf(draw: np.random.Generator, ids: int, count: int) -> np.ndarray:
    """So many numbers below `ids`, the n-th about 1 / n as often as the first."""
    edges = np.cumsum(1 / np.arange(1, ids + 1))
    return np.searchsorted(edges, draw.random(count) * edges[-1])
