"""The test sentences as the runs of a comparison translate them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.translate.decoding import beam
from experiments.translate.scores import corpus_bleu, exact_share, texts
from experiments.translate.vocabulary import Vocabulary
from optchain import lab

WIDTH = 4  # of the beam


@dataclasses.dataclass(frozen=True)
class Translated:
    """What a run makes of the test sentences, word by word (greedily) and by a beam."""

    run: lab.Run
    greedy: list[str]
    by_beam: list[str]
    right: list[str]
    loss: float
    scores: Mapping[str, float]


def translator(first: lab.Run, sentences: int) -> Any:
    """A function from a run to its `Translated`, compiled once for all runs of a comparison.

    Args:
        first: any of them, whose network and test sentences are those of all.
        sentences: the first ones of the test split.
    """
    task, model = first.task, first.model
    data = task.splits["test"]
    sources, right = (np.asarray(x[:sentences]) for x in (data.inputs["source"], data.targets))
    vocabulary = Vocabulary(tuple(task.labels or ()))
    wanted = texts(right)

    @jax.jit
    def rows(params: Any, rest: Any) -> tuple[jax.Array, jax.Array]:
        logits = lambda source, before: model.apply(params, rest, {"source": source, "before": before})[0]  # noqa: E731
        found = [beam(logits, jnp.asarray(sources), right.shape[1], width) for width in (1, WIDTH)]
        return found[0], found[1]

    def of(run: lab.Run) -> Translated:
        greedy, by_beam = map(np.asarray, rows(run.params, run.rest))
        scores = {
            "exact": exact_share(greedy, right),
            "BLEU": corpus_bleu(texts(greedy), wanted),
            "BLEU, beam": corpus_bleu(texts(by_beam), wanted),
        }
        said = [vocabulary.decode(x) for x in (greedy, by_beam, right)]
        return Translated(run, said[0], said[1], said[2], run.scores["test"]["loss"], scores)

    return of
