"""From French to English: sentences of a grammar whose translations are known, or those of a file."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from experiments.translate.corpus import generated, tatoeba
from experiments.translate.vocabulary import BEGIN, PAD, Vocabulary
from optchain import lab


@dataclasses.dataclass(frozen=True)
class Translate:
    """French sentences, and English ones up to each of their words; the targets are the next words.

    The inputs are `source` and `before`, int32[n, longest + 1] each, the targets `before` one word later; all end in
    <end> and are filled up with <pad>, which costs nothing. Examples are weighted by their words, so that the loss is
    the mean over words, in nats. Pairs with the same English are in one split.
    """

    examples: Annotated[int | None, Field(gt=0)] = None  # pairs; 20,000 generated ones, or all of a file
    vocabulary: Annotated[int, Field(ge=20)] = 400  # of the generated corpus: nouns, adjectives and verbs
    zipf: Annotated[float, Field(ge=0)] = 1.0  # exponent of how often they are said; 0 for all equally often
    depth: Annotated[int, Field(ge=0)] = 1  # phrases that may stand within one another
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0  # chance of a French word to be replaced by another
    longest: Annotated[int, Field(ge=4)] = 10  # words of a sentence
    seed: int = 0  # of the generated corpus
    path: Path | None = None  # a file of Tatoeba's pairs, in place of the generated ones
    least: Annotated[int, Field(gt=0)] = 1  # times that a word stands in the file; rarer ones are <unknown>

    def load(self) -> lab.Examples:
        """The examples."""
        return examples_of(self)


@functools.lru_cache(maxsize=2)  # of a comparison on two corpora
def examples_of(task: Translate) -> lab.Examples:
    """The examples of a task, made once in a process."""
    if task.path is None:
        grammar = (task.vocabulary, task.zipf, task.depth, task.noise, task.longest, task.seed)
        pairs = generated(task.examples or 20_000, *grammar)
    else:
        pairs = tatoeba(task.path, task.longest)[: task.examples]
    french, english = ([pair[i] for pair in pairs] for i in (0, 1))
    sources, targets = Vocabulary.of(french, task.least), Vocabulary.of(english, task.least)
    after = targets.encode(english, task.longest + 1)
    before = np.concatenate([np.full((len(after), 1), BEGIN, np.int32), after[:, :-1]], axis=1)
    words = (after != PAD).sum(1)
    return lab.Examples(
        {"source": sources.encode(french, task.longest + 1), "before": before},
        after,
        labels=targets.words,
        names=("next_word",),
        weights=(words / words.mean()).astype(np.float32),
        groups=np.unique([" ".join(words) for words in english], return_inverse=True)[1],
        steps=None,
        stratify=False,
        ids=len(sources),
    )
