"""A small decoder-only transformer over bytes: each output depends on the bytes up to its own, and on none after."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from optchain.lab.models import tables


def rounded(initializer: Any) -> Any:
    """The initializer drawn in float32 and rounded once, so that all dtypes begin at the same parameters."""
    return lambda key, shape, dtype=jnp.float32: initializer(key, shape, jnp.float32).astype(dtype)


class Layer(nn.Module):
    """Causal attention, then two dense layers, each added to the stream: on normalized input, or normalized after."""

    table: tables.Transformer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtypes: dict[str, Any] = {"dtype": self.table.compute, "param_dtype": self.table.dtype}
        dense: dict[str, Any] = {**dtypes, "use_bias": False, "kernel_init": rounded(nn.initializers.lecun_normal())}
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        attention = nn.MultiHeadDotProductAttention(self.table.heads, **dense, name="attention")
        wide = nn.Dense(4 * self.table.width, **dense, name="wide")
        narrow = nn.Dense(self.table.width, **dense, name="narrow")
        for name, sub in (
            ("attention_norm", lambda x: attention(x, mask=mask)),
            ("dense_norm", lambda x: narrow(nn.gelu(wide(x)))),
        ):
            norm = nn.RMSNorm(**dtypes, name=name)
            x = x + sub(norm(x)) if self.table.norm == "pre" else norm(x + sub(x))
        return x


class Transformer(nn.Module):
    """Embedded bytes and learned positions, layers, and the logits of the next byte in float32.

    With `scan` the layers are one module whose parameters are stacked along a leading axis, else `layer_0`, ....
    """

    table: tables.Transformer
    outputs: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        table = self.table
        dtypes: dict[str, Any] = {"dtype": table.compute, "param_dtype": table.dtype}
        embed: dict[str, Any] = {**dtypes, "embedding_init": rounded(nn.initializers.normal(1.0))}
        positions = jnp.arange(inputs.shape[1])
        x = nn.Embed(self.outputs, table.width, **embed, name="bytes")(inputs)
        x = x + nn.Embed(inputs.shape[1], table.width, **embed, name="positions")(positions)[None]
        if table.scan:
            once = nn.scan(
                lambda layer, x, _: (layer(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=table.layers,
            )
            x, _ = once(Layer(table, name="layers"), x, None)
        else:
            for i in range(table.layers):
                x = Layer(table, name=f"layer_{i}")(x)
        x = nn.RMSNorm(**dtypes, name="norm")(x)
        head = nn.Dense(self.outputs, use_bias=False, kernel_init=rounded(nn.initializers.lecun_normal()), **dtypes)
        return head(x).astype(jnp.float32)
