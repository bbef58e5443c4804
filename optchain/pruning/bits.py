"""Masks as bits: a checkpoint holds an eighth of a byte for each entry."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.gather import gathered
from optchain.core.paths import map_named


def pack_bits(tree: Any) -> Any:
    """The tree with every array of bools packed into one of uint8, eight to a byte, for a checkpoint.

    Bools without axes, and all else, stay as they are. `unpack_bits` is the way back.

    Args:
        tree: any tree of arrays, such as the state of a transformation with `sparse` in it.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> packed = oc.pack_bits({"mask": jnp.ones((3, 4), bool)})
    >>> packed["mask"].shape, oc.unpack_bits(packed, {"mask": jnp.ones((3, 4), bool)})["mask"].shape
    ((2,), (3, 4))
    """
    return jax.tree.map(lambda x: jnp.packbits(gathered(x, 0).reshape(-1)) if _is_mask(x) else x, tree)


def unpack_bits(packed: Any, like: Any) -> Any:
    """The tree of which `pack_bits` made the packed one, bit for bit.

    Args:
        packed: what `pack_bits` returned, as arrays of JAX or NumPy.
        like: a tree of the same structure with the shapes and dtypes of the original, such as a fresh state; arrays, or
            `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: packed bits of another length than the mask of the template has.
    """

    def unpack(name: str, mask: Any, x: Any) -> Any:
        if not _is_mask(mask):
            return x
        size, bits = int(np.prod(mask.shape)), jnp.asarray(x)
        if bits.dtype != jnp.uint8 or bits.shape != (-(-size // 8),):
            mismatch = f"{bits.dtype}{bits.shape}, expected uint8{(-(-size // 8),)} for a mask of {mask.shape}"
            raise ValueError(f"unpack_bits: {name!r} is {mismatch}")
        return jnp.unpackbits(bits, count=size).astype(bool).reshape(mask.shape)

    return map_named(unpack, like, packed)


def _is_mask(x: Any) -> bool:
    return getattr(x, "dtype", None) == jnp.bool and x.ndim > 0
