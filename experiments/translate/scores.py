"""What translations are worth: the loss of each word, sentences that are right, and BLEU."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.translate.decoding import beam
from experiments.translate.vocabulary import PAD, ended


def word_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean negative log-likelihood of each example's words, the end too, in nats.

    It is the built-in `cross_entropy` with `ignored = 0`, which can be smoothed in training besides.
    """
    there = targets != PAD
    likely = jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[..., None], -1)[..., 0]
    return -jnp.sum(likely, -1, where=there) / there.sum(-1)


def word_accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The share of each example's words, the end too, that are the likeliest after the right ones before."""
    there = targets != PAD
    return jnp.sum(outputs.argmax(-1) == targets, -1, where=there) / there.sum(-1)


def exact(model: Callable[[Any], Any], inputs: Any, targets: Any, width: int = 1, sentences: int = 500) -> float:
    """The share of sentences that are translated word for word as they should be.

    Args:
        model: from inputs to outputs.
        inputs: `source` and `before`.
        targets: the right words.
        width: of the beam; 1 takes the likeliest word each time.
        sentences: the first of them, which are translated.
    """
    said, right = _translated(model, inputs, targets, width, sentences)
    return exact_share(said, right)


def bleu(model: Callable[[Any], Any], inputs: Any, targets: Any, width: int = 1, sentences: int = 500) -> float:
    """BLEU of the corpus, from 0 to 100; the arguments are those of `exact`. Words are compared as their numbers."""
    said, right = _translated(model, inputs, targets, width, sentences)
    return corpus_bleu(texts(said), texts(right))


def exact_share(said: np.ndarray, right: np.ndarray) -> float:
    """The share of rows that are the same up to their end."""
    return float(np.mean([a == b for a, b in zip(texts(said), texts(right), strict=True)]))


def corpus_bleu(said: Sequence[str], right: Sequence[str]) -> float:
    """BLEU by sacrebleu, of sentences that are words already."""
    return float(_bleu().corpus_score(said, [right]).score)


def _bleu() -> Any:
    """BLEU of sentences that are words already."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="none", force=True)


def texts(rows: np.ndarray) -> list[str]:
    """The numbers of each row up to its end, as a text."""
    return [" ".join(map(str, ended(row.tolist()))) for row in np.asarray(rows)]


def _translated(
    model: Callable[[Any], Any], inputs: Any, targets: Any, width: int, sentences: int
) -> tuple[np.ndarray, np.ndarray]:
    source, right = inputs["source"][:sentences], targets[:sentences]
    said = beam(lambda source, before: model({"source": source, "before": before}), source, right.shape[1], width)
    return np.asarray(said), np.asarray(right)


def bootstrap(systems: dict[str, list[str]], right: Sequence[str]) -> dict[str, float]:
    """How likely each system's BLEU differs from that of the first one by chance.

    By sacrebleu's paired bootstrap: sentences are drawn again 1,000 times, the same for all systems.

    Args:
        systems: their sentences, by name, the one that all others are compared with in front.
        right: what they should be.
    """
    from sacrebleu.significance import PairedTest

    if len(systems) < 2:
        return {}
    test = PairedTest([*systems.items()], {"BLEU": _bleu()}, [right], "bs", n_samples=1000)
    results: list[Any] = list(test()[1]["BLEU"])  # the first one is of the system that the others are compared with
    return {name: result.p_value for name, result in zip(list(systems)[1:], results[1:], strict=True)}
