"""A tree of parameters, or of their gradients, whose leaves lie together in few arrays."""

from typing import Any

import jax

from optchain.core.around import Around
from optchain.core.holes import is_hole
from optchain.core.joint import Joint
from optchain.core.runner import Runner
from optchain.core.together import Together
from optchain.core.transform import ours
from optchain.masking.groups import Groups
from optchain.packing.layout import Layout
from optchain.pruning.sparse import Sparse


@jax.tree_util.register_pytree_with_keys_class
class PackedTree(Together):
    """A pytree whose leaves are the buffers of a tree.

    Attributes:
        buffers: the arrays by their names: `flat` where leaves lie side by side, `stack:64x128` where equal shapes are
            stacked, and the leaf's own name where it lies alone.
        layout: which leaf of the tree lies where.
    """

    def __init__(self, layout: Layout, buffers: dict[str, Any]) -> None:
        self.layout, self.buffers = layout, buffers

    def tree_flatten_with_keys(self) -> tuple[Any, Layout]:
        keys = [buffer.key for buffer in self.layout.buffers]
        return [(jax.tree_util.DictKey(key), self.buffers[key]) for key in keys], self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, children: Any) -> "PackedTree":
        return cls(layout, dict(zip((buffer.key for buffer in layout.buffers), children, strict=True)))

    def require_taken(self, definition: Any) -> None:
        alone = looks_at_leaves(definition)
        if alone:
            # What stands around others has no place in packed(...).
            inside = "" if isinstance(alone, Around) else "put it into packed(...), or "
            cure = f"{inside}step plain parameters, which packed(...) takes too"
            raise ValueError(f"{alone.name}: the parameters are packed, and it looks at single ones; {cure}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedTree) and (self.layout, self.buffers) == (other.layout, other.buffers)

    def __repr__(self) -> str:
        shown = [f"{key}: {getattr(x, 'dtype', x)}{list(getattr(x, 'shape', ()))}" for key, x in self.buffers.items()]
        return f"PackedTree({len(self.layout.names)} leaves in {', '.join(shown)})"


def looks_at_leaves(definition: Any) -> Any:
    """The first definition outside of `packed` to which it matters where a leaf begins; None for none.

    Of a wrapper that does more than what is in it does, it is the wrapper.
    """
    if definition.name == "packed":
        return None
    if isinstance(definition, (Groups, Sparse)):
        return definition
    if isinstance(definition, Runner):
        is_of_all = isinstance(definition, Joint) or (definition.rule.core_ndim == 0 and not definition.mixes)
        return None if definition.mask is None and is_of_all else definition
    own = definition.others() if isinstance(definition, Around) else {}
    for prefix, tx in definition.children().items():
        found = looks_at_leaves(tx.link) if ours(tx) else None
        if found is not None:
            return definition if prefix in own else found
    return None


def is_packed(x: Any) -> bool:
    """Whether this is a packed tree."""
    return isinstance(x, PackedTree)


def unpack(params: Any) -> Any:
    """The tree that was packed: what the model is called with.

    Its transpose is one concatenation for each buffer, so `jax.grad` of a function of packed parameters gives packed
    gradients. It may be called anywhere in a compiled step, and costs one copy of what is read as arrays of its own.

    Args:
        params: what `pack` made, or anything with its structure, such as gradients, updates or averages.

    Raises:
        ValueError: not a packed tree, or one with axes in front, as `vmap` makes them: unpack it inside.

    >>> import jax
    >>> import optchain as oc
    >>> tx = oc.packed(oc.adamw(1e-3))
    >>> params = oc.pack(tx, {"kernel": jax.numpy.ones((2, 3)), "bias": jax.numpy.zeros(3)})
    >>> params
    PackedTree(2 leaves in flat: float32[9])
    >>> jax.tree.map(jax.numpy.shape, oc.unpack(params))
    {'bias': (3,), 'kernel': (2, 3)}
    """
    if not isinstance(params, PackedTree):
        raise ValueError(f"unpack: expected what oc.pack(tx, params) makes, got {type(params).__name__}")
    for buffer in params.layout.buffers:
        x, expected = params.buffers[buffer.key], params.layout.shape(buffer)
        if not is_hole(x) and x.shape != expected:
            cure = "under vmap, call unpack inside the mapped function"
            raise ValueError(f"unpack: buffer {buffer.key!r} has shape {x.shape}, expected {expected}; {cure}")
    return params.layout.back(params.buffers)
