"""The state of a transformation with packed slots as one with slots like the parameters, and back."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from optchain.core.around import first_held
from optchain.core.door import Door, widened
from optchain.core.holes import is_hole
from optchain.core.states import owners
from optchain.core.transform import definition_of, start
from optchain.core.walk import definitions, rewritten
from optchain.masking.groups import Groups
from optchain.packing.layout import Buffer, Layout
from optchain.packing.packed import Packed
from optchain.packing.packed_tree import PackedTree, is_packed


@dataclasses.dataclass(frozen=True)
class Apart(Packed):
    """The same transformation with slots like the parameters: what `with_trees` makes a state one of."""

    def start(self, params: Any) -> dict[str, Any]:
        return self.with_shown({self.name: {}, "inner": first_held("", self.inner, start(self.inner, params))})


def without_packing(tx: Any) -> Any:
    """The transformation whose states are those of `with_trees`."""
    return rewritten(tx, lambda link: Apart(link.inner, link.axis) if isinstance(link, Packed) else link)


def with_trees(tx: Any, state: Any, params: Any) -> Any:
    """The state with a tree in the place of all that is packed."""

    def plain(template: Any, old: Any) -> Any:
        if not is_packed(template):
            return old
        return template.layout.back(old.buffers if is_packed(old) else old)

    state = _changed(tx, state, params, lambda like, old: jax.tree.map(plain, like, old, is_leaf=is_packed))
    return jax.tree.map(lambda x: _unpacked(x) if is_packed(x) else x, state, is_leaf=is_packed)


def with_buffers(tx: Any, state: Any, params: Any) -> Any:
    """The state for these parameters, packed or not, from what `with_trees` made of one."""

    def packed(template: Any, old: Any) -> Any:
        if not is_packed(template):
            return old
        buffers = {
            # An elementwise law has one number for all leaves of a stack.
            key: x if is_hole(x) or x.shape == template.buffers[key].shape else x[0]
            for key, x in template.layout.of(old).items()
        }
        return PackedTree(template.layout, buffers) if is_packed(params) else buffers

    state = _changed(tx, state, params, lambda like, old: jax.tree.map(packed, like, old, is_leaf=is_packed))
    return _repacked(jax.eval_shape(tx.init, params), state) if is_packed(params) else state


def buffers_of(tx: Any, numbered: Any, params: Any) -> dict[int, tuple[Layout, Buffer]]:
    """By the number of each array of a state that stands for a buffer: which one."""
    found: dict[int, tuple[Layout, Buffer]] = {}

    def noted(template: Any, numbers: Any) -> Any:
        if is_packed(template):
            table = numbers.buffers if is_packed(numbers) else numbers
            pairs = ((table[buffer.key], buffer) for buffer in template.layout.buffers)
            found.update({i: (template.layout, buffer) for i, buffer in pairs if not is_hole(i)})
        return numbers

    _changed(tx, numbered, params, lambda like, old: jax.tree.map(noted, like, old, is_leaf=is_packed))
    return found


def _repacked(like: Any, state: Any) -> Any:
    """The state with what stands around `packed(...)`, such as an average, packed as the parameters are."""

    def again(template: Any, old: Any) -> Any:
        if not is_packed(template) or is_packed(old):
            return old
        of = jax.vmap(template.layout.of) if _are_several(template) else template.layout.of
        return PackedTree(template.layout, of(old))

    return jax.tree.map(again, like, state, is_leaf=is_packed)


def _unpacked(packed: Any) -> Any:
    """The tree of what stands around `packed(...)`."""
    back = jax.vmap(packed.layout.back) if _are_several(packed) else packed.layout.back
    return back(packed.buffers)


def _are_several(packed: Any) -> bool:
    """Whether the buffers have an axis in front that counts trees, such as that of the steps of `delayed`."""
    return any(x.ndim > len(packed.layout.shape(b)) for b in packed.layout.buffers for x in [packed.buffers[b.key]])


def _changed(tx: Any, state: Any, params: Any, change: Callable[[Any, Any], Any]) -> Any:
    """The state with `change(template, state)` of what each `packed(...)` keeps; the template has packed trees."""
    link = definition_of(tx)
    if link is None and any(name == Packed.name for _, name, _ in owners(state)):
        problem = "packed(...) stands within a transformation of optax, which cannot be looked into"
        raise ValueError(f"{problem}; use oc.chain, oc.groups and oc.guard around it")
    if link is None or not any(isinstance(inner, Packed) for _, inner in definitions(tx)):
        return state
    if isinstance(link, Apart):  # whose slots are like the parameters already
        return state
    if isinstance(link, Packed):
        inside = Door(link, params, params).params
        layout = link.layout(inside)
        if not layout.names:
            return state

        def first(tree: Any) -> Any:
            buffers = tree.buffers if is_packed(tree) else layout.of(widened(tree))
            return start(link.on_buffers(layout), PackedTree(layout, buffers))

        template = jax.eval_shape(first, inside)
        return state | {"inner": change(template, state["inner"])}
    parts = {name: inside for name, _, inside in link.parts(params)} if isinstance(link, Groups) else {}
    new = dict(state)
    for name, child in link.children().items():
        inside = parts.get(name, params)
        if name:
            table = "links" if "links" in state else "others"
            new[table] = new[table] | {name: _changed(child, state[table][name], inside, change)}
        else:
            new["inner"] = _changed(child, state["inner"], inside, change)
    return new
