"""Parameters in buffers, so that a step copies nothing."""

from typing import Any

import jax
import optax

from optchain.core.door import is_floating
from optchain.core.paths import named_leaves
from optchain.core.walk import definitions
from optchain.packing.packed import Packed
from optchain.packing.packed_tree import PackedTree, is_packed


def pack(tx: optax.GradientTransformation, params: Any) -> PackedTree:
    """Parameters in the buffers in which `packed` steps them.

    Args:
        tx: `packed(...)`, or wrappers and chains around one.
        params: a tree of arrays, or of their shapes; one that is packed already is packed again. Leaves of different
            dtypes lie apart.

    Returns:
        A pytree of few arrays, for `tx.init`, `tx.update`, `oc.apply`, `jax.grad`; `unpack` gives the tree back.

    Raises:
        ValueError: not exactly one `packed(...)` within `tx`; a leaf that is not a real floating array: leave it out of
            what is trained, and of what is packed.

    >>> import jax
    >>> import optchain as oc
    >>> tx = oc.guard(oc.packed(oc.muon(0.02)))
    >>> oc.pack(tx, {"a": {"kernel": jax.numpy.ones((4, 8))}, "b": {"kernel": jax.numpy.ones((4, 8))}})
    PackedTree(2 leaves in stack:4x8: float32[2, 4, 8])
    """
    links = [link for _, link in definitions(tx) if isinstance(link, Packed)]
    if len(links) != 1:
        raise ValueError(f"pack: expected one packed(...) within the transformation, found {len(links)}")
    (link,) = links
    params = params.layout.back(params.buffers) if is_packed(params) else params
    for name, x in named_leaves(params):
        if not is_floating(x) or 0 in x.shape:
            kind = getattr(x, "dtype", type(x).__name__)
            expected = "expected a real floating array with entries"
            raise ValueError(f"pack: leaf {name!r} is {kind}, {expected}; keep it outside of what is packed")
    layout = link.layout_of(params, link.parts(params))
    are_shapes = any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(params))
    return PackedTree(layout, jax.eval_shape(layout.of, params) if are_shapes else layout.of(params))
