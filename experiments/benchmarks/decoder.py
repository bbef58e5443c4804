"""A decoder-only transformer of plain functions, whose layers are leaves of their own: 16 for each."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Decoder:
    """The sizes; `init` makes parameters, `loss` is the mean of cross entropies of the next token."""

    layers: int
    width: int
    heads: int = 4
    vocabulary: int = 256
    context: int = 16

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Parameters: 16 leaves for each layer, and five besides."""
        keys, n = iter(jax.random.split(key, 6 * self.layers + 3)), self.width

        def normal(*shape: int) -> jax.Array:
            return jax.random.normal(next(keys), shape) / shape[0] ** 0.5

        def dense(inputs: int, outputs: int) -> dict[str, jax.Array]:
            return {"kernel": normal(inputs, outputs), "bias": jnp.zeros(outputs)}

        def norm() -> dict[str, jax.Array]:
            return {"scale": jnp.ones(n), "bias": jnp.zeros(n)}

        def layer() -> dict[str, Any]:
            attention = {name: dense(n, n) for name in ("query", "key", "value", "out")}
            return {"norm": norm(), **attention, "norm_mlp": norm(), "up": dense(n, 4 * n), "down": dense(4 * n, n)}

        layers = {f"layer_{i:02}": layer() for i in range(self.layers)}
        embeddings = {"tokens": normal(self.vocabulary, n), "positions": normal(self.context, n)}
        return {**embeddings, "layers": layers, "norm": norm(), "head": normal(n, self.vocabulary)}

    def loss(self, params: dict[str, Any], ids: jax.Array) -> jax.Array:
        """The mean cross entropy of each token after those before it."""
        x = params["tokens"][ids[:, :-1]] + params["positions"][None]
        for layer in params["layers"].values():
            x = x + self._attention(layer, _norm(layer["norm"], x))
            x = x + _dense(layer["down"], jax.nn.gelu(_dense(layer["up"], _norm(layer["norm_mlp"], x))))
        logits = _norm(params["norm"], x) @ params["head"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean()

    def _attention(self, layer: dict[str, Any], x: jax.Array) -> jax.Array:
        def heads(name: str) -> jax.Array:
            return _dense(layer[name], x).reshape(*x.shape[:2], self.heads, -1)

        mixed = jax.nn.dot_product_attention(heads("query"), heads("key"), heads("value"), is_causal=True)
        return _dense(layer["out"], mixed.reshape(x.shape))


def _dense(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.einsum("bti,io->bto", x, layer["kernel"]) + layer["bias"][None, None]


def _norm(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)
    return x * layer["scale"][None, None] + layer["bias"][None, None]
