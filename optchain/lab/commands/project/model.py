"""The model of this project: a module of flax.linen, or of flax.nnx with a parameter `rngs`."""

import flax.linen as nn
import jax


class Net(nn.Module):
    """Dense layers. The fields are keys of `[model]`; what the task says of `outputs` is filled in."""

    outputs: int
    width: int = 32
    depth: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(self.depth):
            x = nn.relu(nn.Dense(self.width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.outputs)(x)
