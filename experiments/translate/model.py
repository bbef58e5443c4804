"""An encoder-decoder transformer: each output depends on the whole source and on the words before its own."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.translate.vocabulary import PAD


def translator(
    task: Any, outputs: int, layers: int = 1, width: int = 64, heads: int = 4, dropout: float = 0.0
) -> "Translator":
    """The transformer for a task, whose `ids` are the words of the source.

    Args:
        task: what is learned.
        outputs: words of the target.
        layers: of the encoder, and of the decoder.
        width: numbers that stand for a word; a multiple of `heads`.
        heads: of each attention.
        dropout: the share of numbers that are dropped while it trains.
    """
    return Translator(task.ids, outputs, layers, width, heads, dropout)


class Layer(nn.Module):
    """Attention to the sequence itself, attention to a memory where there is one, and two dense layers.

    Each reads the stream normalized (pre-norm) and is added to it.
    """

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, seen: jax.Array, memory: Any, train: bool) -> jax.Array:
        drop = nn.Dropout(self.dropout, deterministic=not train)

        def attended(name: str, x: jax.Array, memory: jax.Array | None, mask: jax.Array) -> jax.Array:
            attention = nn.MultiHeadDotProductAttention(self.heads, use_bias=False, name=name)
            return x + drop(attention(_normalized(x, name), memory, mask=mask))

        x = attended("attention", x, None, seen)
        if memory is not None:
            x = attended("cross_attention", x, *memory)
        width = x.shape[-1]
        wide = nn.gelu(nn.Dense(4 * width, use_bias=False, name="wide")(_normalized(x, "dense")))
        return x + drop(nn.Dense(width, use_bias=False, name="narrow")(wide))


class Translator(nn.Module):
    """Words and learned positions are embedded; layers of the encoder read the source, those of the decoder the words
    before, and the source as the encoder leaves it."""

    sources: int
    outputs: int
    layers: int
    width: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, source: jax.Array, before: jax.Array, train: bool) -> jax.Array:
        there = source != PAD
        seen = nn.make_attention_mask(there, there)
        x = self._embedded(source, self.sources, "source")
        for i in range(self.layers):
            x = Layer(self.heads, self.dropout, name=f"encoder_{i}")(x, seen, None, train)
        memory = _normalized(x, "encoder"), nn.make_attention_mask(jnp.ones_like(before), there)
        seen = nn.make_causal_mask(before)
        x = self._embedded(before, self.outputs, "target")
        for i in range(self.layers):
            x = Layer(self.heads, self.dropout, name=f"decoder_{i}")(x, seen, memory, train)
        return nn.Dense(self.outputs, use_bias=False, name="head")(_normalized(x, "decoder"))

    def _embedded(self, words: jax.Array, count: int, name: str) -> jax.Array:
        normal = nn.initializers.normal(1.0)
        x = nn.Embed(count, self.width, embedding_init=normal, name=f"{name}_words")(words)
        positions = nn.Embed(words.shape[1], self.width, embedding_init=normal, name=f"{name}_positions")
        return x + positions(jnp.arange(words.shape[1]))[None]


def _normalized(x: jax.Array, name: str) -> jax.Array:
    return nn.RMSNorm(name=f"{name}_norm")(x)
