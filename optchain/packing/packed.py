"""Packed leaves: parameters of equal treatment are stepped as one array."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around, first_held, stepped
from optchain.core.definition import Result
from optchain.core.door import WIDE, like, widened
from optchain.core.extras import is_number
from optchain.core.lift import technique
from optchain.core.routing import Given
from optchain.core.runner import fitted
from optchain.core.spread import SPREAD
from optchain.core.transform import Transform, advance, moving, propose, start, step, transform
from optchain.core.walk import definitions
from optchain.moments.adam import scale_by_adam
from optchain.packing.layout import Layout
from optchain.packing.packed_tree import PackedTree, is_packed
from optchain.packing.survey import Survey
from optchain.sharding.ravel import mesh_with


@dataclasses.dataclass(frozen=True)
class Packed(Around):
    """Runs `inner` on buffers.

    State: as of every wrapper; slots within it are packed trees where the parameters are, else tables of buffers.
    """

    axis: str | None = None

    name = "packed"

    def takes(self) -> frozenset[str]:
        return frozenset()

    def moving(self, params: Any) -> Any:
        return moving(self.on_buffers(params.layout) if is_packed(params) else self.inner, params)

    def start(self, params: Any) -> dict[str, Any]:
        layout = self.layout(params)
        tx = self.on_buffers(layout)
        state = _without_empty_trees(layout, start(tx, _buffers(layout, params)))
        return self.with_shown({self.name: {}, "inner": first_held("", tx, state)})

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(step, updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(propose, grads, state, params, given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        new, state, metrics = self._run(advance, grads, state, params, given)
        return like(new, params), state, metrics

    def layout(self, tree: Any, *others: Any) -> Layout:
        """Which leaves of a tree lie together; the other trees may say on which mesh."""
        if is_packed(tree):
            self._require_own(tree.layout)
            return tree.layout
        parts = self.parts(tree, *others)
        wide = lambda x: x.dtype if x.dtype in WIDE else jnp.float32  # noqa: E731
        tree = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, wide(x)), tree)
        return self.layout_of(tree, parts)

    def layout_of(self, tree: Any, parts: int) -> Layout:
        """The layout of a tree on this many devices."""
        leaves, treedef = jax.tree.flatten(tree)
        return self._surveyed(treedef, tuple((x.shape, str(x.dtype)) for x in leaves), parts)[0]

    def on_buffers(self, layout: Layout) -> Any:
        """The transformation of the buffers."""
        shapes = tuple(zip(layout.shapes, layout.dtypes, strict=True))
        return self._surveyed(layout.treedef, shapes, layout.parts)[1]

    @functools.cached_property
    def _surveyed(self) -> Callable[[Any, Any, int], tuple[Layout, Any]]:
        """The layout of trees of this structure and the transformation of their buffers, found once."""
        known: dict[Any, tuple[Layout, Any]] = {}

        def surveyed(treedef: Any, shapes: tuple[tuple[Any, str], ...], parts: int) -> tuple[Layout, Any]:
            key = (treedef, shapes, parts)
            if key not in known:
                tree = treedef.unflatten([jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for shape, dtype in shapes])
                survey = Survey(self.inner, tree, self.axis)
                layout = survey.layout(self.axis if parts > 1 else None, parts)
                known[key] = layout, survey.on_buffers(layout.keys)
            return known[key]

        return surveyed

    def parts(self, *trees: Any) -> int:
        """The devices along the axis, on the mesh of these trees."""
        mesh = None if self.axis is None else mesh_with(self.name, self.axis, trees)
        return 1 if mesh is None else mesh.shape[self.axis]

    def _require_own(self, layout: Layout) -> None:
        """Parameters were packed for this transformation."""
        own = self.layout_of(layout.tree, layout.parts)
        if own != layout:
            made, expected = (", ".join(buffer.key for buffer in x.buffers) for x in (layout, own))
            problem = f"the parameters were packed for another transformation, in {made}; this one has {expected}"
            raise ValueError(f"packed: {problem}; call oc.pack(tx, oc.unpack(params))")

    def _run(self, how: Callable[..., Any], grads: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        if given.factors:
            raise ValueError("packed: groups around packed(...) have factors of their own; put them inside")
        if SPREAD.get() is not None:
            raise ValueError("packed: over_axes around packed(...) cannot tell which leaf is split; step outside of it")
        whole = grads if params is None else params
        layout = self.layout(whole, grads, state)
        tx = self.on_buffers(layout)
        given = given.split(self.children())[""]
        given = dataclasses.replace(given, extra=self._extra(layout, given.extra))
        ps, inner = None if params is None else _buffers(layout, params), state["inner"]
        if not layout.names:
            begun = start(tx, _buffers(layout, whole))
            inner = jax.tree.map(lambda x, old: x if is_packed(x) else old, begun, inner, is_leaf=is_packed)
        new, held = stepped("", tx, _buffers(layout, grads), inner, ps, given, how)
        held = held._replace(state=_without_empty_trees(layout, held.state))
        new = new if is_packed(whole) else layout.back(new.buffers if is_packed(new) else new, whole)
        return new, self.with_shown(state | {"inner": held}), {}

    def _extra(self, layout: Layout, extra: Any) -> dict[str, Any]:
        """The extra arguments, of which trees like the parameters are packed as these are."""
        read = {name for _, link in definitions(self.inner) for name in link.reads}
        packed = {}
        for name in read & set(extra):
            x = extra[name]
            if x is not None and not is_number(x) and not is_packed(x):
                packed[name] = _buffers(layout, fitted(self.name, name, x, layout.tree))
        return {**extra, **packed}


def on_buffers(link: Any, layout: Layout) -> Any:
    """A definition within a transformation as one for packed parameters: what is in `packed` is for their buffers."""
    return dataclasses.replace(link, inner=link.on_buffers(layout)) if isinstance(link, Packed) else link


def _buffers(layout: Layout, tree: Any) -> Any:
    """What is stepped: packed parameters as they are, or a table of the buffers of a plain tree, if it has any."""
    if is_packed(tree):
        return tree
    return layout.of(widened(tree)) if layout.names else PackedTree(layout, {})


def _without_empty_trees(layout: Layout, state: Any) -> Any:
    """The state with a number in the place of each packed tree, if there are no leaves at all."""
    if layout.names:
        return state
    # `optax.tree.map_params` asks for the state of no arrays: what is not a tree then is not a parameter's.
    return jax.tree.map(lambda x: jnp.zeros((), jnp.int32) if is_packed(x) else x, state, is_leaf=is_packed)


@technique(tx=scale_by_adam())
def packed(tx: optax.GradientTransformation, axis: str | None = None) -> Transform:
    r"""Steps parameters of equal treatment together: a thousand small leaves are a few large arrays.

    A step of many small leaves is slow to compile and to run, because each leaf brings some arrays and some kernels of
    its own. Within `packed` leaves lie in buffers: side by side in a flat array where everything in `tx` is elementwise
    for them, stacked with others of their shape where something looks at rows, matrices or whole leaves (a stack is
    stepped as `over_layers` steps layers) or `precision` keeps slots in few bits (each leaf has the blocks and random
    bits that it has alone). Leaves that masks, groups, layers or matrix views treat differently lie apart; one that is
    called by its name, or whose short rows a stack would merge in blocks, lies alone. The updates are those of `tx`.

    It pays fully where the parameters are packed too: `pack` makes them so, the model is called with `unpack(params)`,
    gradients come packed by themselves, and nothing is taken apart but for the model. With a plain tree only the slots
    are packed, and each step copies gradients and parameters into buffers and back.

    Args:
        tx: a technique, or chains and groups of techniques. Wrappers stand outside: `guard(packed(tx))`; so do
            techniques that look at each leaf by itself.
        axis: a mesh axis along which the parameters are copies of one another: flat buffers are padded and split over
            it, slots (ZeRO-1) and packed parameters (ZeRO-3) too; none without a mesh, or in a `shard_map` over it.
            Slots in few bits are refused.

    Shapes and dtypes: as for `tx`; its slots are tables of buffers, or packed as the parameters are. Names of numbers,
    masks and metrics are as without `packed`. Checkpoints keep `unpack(params)` and `state_by_parameters(tx, state,
    params)`, whose `"inner"` goes on without `packed` as well; `state_by_owners` packs it again.

    Raises:
        ValueError: what cannot be packed, by name; at `update` a state of other buffers.

    References:
        Rajbhandari et al., 2020, section 5.1 (partitioning of flat buffers). https://arxiv.org/abs/1910.02054

    >>> import jax
    >>> import optchain as oc
    >>> tx = oc.packed(oc.adamw(1e-3))
    >>> params = oc.pack(tx, {"kernel": jax.numpy.ones((2, 3)), "bias": jax.numpy.zeros(3)})
    >>> loss = lambda params: (oc.unpack(params)["kernel"] ** 2).sum()
    >>> params, state = oc.apply(tx, jax.grad(loss)(params), tx.init(params), params)
    """
    if axis is not None and not isinstance(axis, str):
        raise ValueError(f"packed: axis must be the name of a mesh axis or None, got {axis!r}")
    link = Packed(tx, axis)
    Survey(tx, {}, axis)
    return transform(link)
