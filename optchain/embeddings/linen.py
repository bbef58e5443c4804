"""An embedding for Flax's linen whose gradient can be that of the looked-up rows."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from optchain.embeddings.look_up import look_up


class Embed(nn.Embed):
    """`flax.linen.Embed`, with the same fields, parameter and outputs, for `optchain.row_value_and_grad`.

    Within any other function it is what it inherits from. `attend` uses the whole table, so its gradient is dense.

    >>> import jax, jax.numpy as jnp
    >>> import optchain as oc
    >>> from optchain.embeddings.linen import Embed
    >>> model = Embed(num_embeddings=1000, features=2)
    >>> params = model.init(jax.random.key(0), jnp.array([1]))["params"]
    >>> loss = lambda params, ids: jnp.sum(model.apply({"params": params}, ids) ** 2)
    >>> value, grads = oc.row_value_and_grad(loss)(params, jnp.array([[7, 3]]))
    >>> grads["embedding"].indices.tolist()
    [7, 3]
    """

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The rows of `inputs`, integers of any shape, along a new last axis."""
        rows = look_up(self.embedding, inputs)
        promoted: Any = self.promote_dtype(rows, dtype=self.dtype, inexact=False)
        return promoted[0]

    def attend(self, query: jax.Array) -> jax.Array:
        """The inner products of `query` with every row."""
        promoted: Any = self.promote_dtype(query, jnp.asarray(self.embedding), dtype=self.dtype)
        query, table = promoted
        return query @ table.T
