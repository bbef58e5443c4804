"""From a model of the next word to whole sentences: the likeliest word each time, or the likeliest of several paths."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.translate.vocabulary import BEGIN, END, PAD

# From sources int32[n, s] and the words so far int32[n, length] to the logits of the next ones, [n, length, words].
Logits = Callable[[jax.Array, jax.Array], jax.Array]


def greedy(logits: Logits, sources: jax.Array, length: int) -> jax.Array:
    """The likeliest next word, again and again: int32[n, length], each row with <end> and <pad> after it, unless it has
    not ended by then.

    Args:
        logits: of the next words.
        sources: what is translated.
        length: of the rows.
    """
    return beam(logits, sources, length, 1)


def beam(logits: Logits, sources: jax.Array, length: int, width: int = 4, penalty: float = 0.0) -> jax.Array:
    """The likeliest translation that a beam search finds, int32[n, length].

    After each word the `width` likeliest beginnings are kept; one that has ended keeps its place and its probability.

    Args:
        logits: of the next words.
        sources: what is translated.
        length: of the rows.
        width: beginnings that are kept, at most the words that there are.
        penalty: of what is found at last, log-probabilities are divided by (words, the end too) ** penalty; 0 for the
            likeliest, 1 for the likeliest by the word.
    """
    n = len(sources)
    repeated = jnp.repeat(sources, width, axis=0)
    start = jnp.full((n, width, length + 1), PAD, jnp.int32).at[:, :, 0].set(BEGIN)
    # All beginnings are the same at first: only one of them counts.
    scores = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)[None].repeat(n, axis=0)

    def step(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows, scores = carry
        said = logits(repeated, rows[:, :, :-1].reshape(n * width, length))
        likely = jax.nn.log_softmax(jax.lax.dynamic_index_in_dim(said, i, 1, keepdims=False).astype(jnp.float32))
        likely = likely.reshape(n, width, -1)
        words = likely.shape[-1]
        last = jax.lax.dynamic_index_in_dim(rows, i, 2, keepdims=False)
        over = ((last == END) | (last == PAD))[..., None]
        only_pad = jnp.where(jnp.arange(words) == PAD, 0.0, -jnp.inf)[None, None]
        never = jnp.isin(jnp.arange(words), jnp.array([PAD, BEGIN]))[None, None]
        likely = jnp.where(over, only_pad, jnp.where(never, -jnp.inf, likely))
        total = (scores[..., None] + likely).reshape(n, width * words)
        scores, best = jax.lax.top_k(total, width)
        rows = jnp.take_along_axis(rows, (best // words)[..., None], axis=1)
        rows = jax.lax.dynamic_update_index_in_dim(rows, (best % words).astype(jnp.int32), i + 1, 2)
        return rows, scores

    rows, scores = jax.lax.fori_loop(0, length, step, (start, scores))
    lengths = (rows[:, :, 1:] != PAD).sum(-1)
    best = jnp.argmax(scores / lengths**penalty, axis=1)
    return jnp.take_along_axis(rows[:, :, 1:], best[:, None, None], axis=1)[:, 0]
