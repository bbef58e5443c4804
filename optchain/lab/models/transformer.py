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
    """Causal attention, then two dense layers, each added to the stream: on normalized input, or normalized after.

    While it trains with stochastic depth, each of the two is left out for some examples, with the chance `drop`, and
    divided by that of staying for the others: evaluation has all layers, as they are.

    Differs from the paper: examples are drawn one by one, not whole batches, for in a compiled step nothing is saved by
    leaving out what a batch leaves out; and the branches are divided in training, not multiplied in evaluation.

    References:
        Huang et al., 2016, arXiv:1603.09382.
    """

    table: tables.Transformer

    @nn.compact
    def __call__(self, x: jax.Array, drop: jax.Array | None = None) -> jax.Array:
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
            if self.table.norm == "pre":
                x = x + self._kept(sub(norm(x)), drop)
            else:
                x = norm(x + self._kept(sub(x), drop))
        return x

    def _kept(self, branch: jax.Array, drop: jax.Array | None) -> jax.Array:
        """What a branch adds for each example."""
        if drop is None:
            return branch
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - drop, (len(branch), 1, 1))
        return jnp.where(kept, branch / (1 - drop), 0).astype(branch.dtype)


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
        never = not train or (isinstance(table.stochastic_depth, float) and table.stochastic_depth == 0)
        # The linear rule of the paper, equation 4: the higher a layer, the likelier it is left out.
        drops = None if never else table.stochastic_depth * jnp.arange(1, table.layers + 1) / table.layers
        if table.scan:
            once = nn.scan(
                lambda layer, x, drop: (layer(x, drop), None),
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                length=table.layers,
            )
            x, _ = once(Layer(table, name="layers"), x, drops)
        else:
            for i in range(table.layers):
                x = Layer(table, name=f"layer_{i}")(x, None if drops is None else drops[i])
        x = nn.RMSNorm(**dtypes, name="norm")(x)
        head = nn.Dense(self.outputs, use_bias=False, kernel_init=rounded(nn.initializers.lecun_normal()), **dtypes)
        return head(x).astype(jnp.float32)
