"""Parameter trees to take steps on."""

from typing import Any

import jax
import jax.numpy as jnp


def leaf(size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """All parameters in one vector."""
    return {"w": jax.ShapeDtypeStruct((size,), jnp.float32)}


def gpt(layers: int, width: int, vocabulary: int = 4096, context: int = 1024) -> dict[str, Any]:
    """The parameters of a decoder-only transformer, about `12 layers width**2` of them beside the embeddings.

    Many leaves of a few sizes, from biases of `width` numbers to kernels of `4 width**2`, are what a compiler finds in
    practice, where one long vector hides its overhead for each leaf.
    """

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def dense(inputs: int, outputs: int) -> dict[str, jax.ShapeDtypeStruct]:
        return {"kernel": array(inputs, outputs), "bias": array(outputs)}

    def norm() -> dict[str, jax.ShapeDtypeStruct]:
        return {"scale": array(width), "bias": array(width)}

    def block() -> dict[str, Any]:
        attention = {"qkv": dense(width, 3 * width), "out": dense(width, width)}
        mlp = {"up": dense(width, 4 * width), "down": dense(4 * width, width)}
        return {"norm_1": norm(), "attention": attention, "norm_2": norm(), "mlp": mlp}

    embeddings = {"tokens": array(vocabulary, width), "positions": array(context, width)}
    return {"embed": embeddings, "blocks": [block() for _ in range(layers)], "norm": norm()}


def size(tree: Any) -> int:
    """The number of parameters."""
    return sum(x.size for x in jax.tree.leaves(tree))


def normal(tree: Any, seed: int, scale: float) -> Any:
    """Normal numbers in the shapes of the tree."""
    shapes, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return treedef.unflatten(
        [scale * jax.random.normal(key, x.shape, x.dtype) for key, x in zip(keys, shapes, strict=True)]
    )
