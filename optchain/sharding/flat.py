"""Flat leaves: what no axis of a mesh divides is stepped raveled and padded, a share on each device."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from optchain.core import describe
from optchain.core.around import Around, first_held, stepped
from optchain.core.chain import Chain
from optchain.core.definition import Result
from optchain.core.dense import Dense
from optchain.core.joint import Joint
from optchain.core.lift import technique
from optchain.core.mask import select
from optchain.core.numbers import seeds, whole
from optchain.core.routing import Given
from optchain.core.runner import Runner
from optchain.core.transform import Transform, advance, definition_of, propose, start, step, transform
from optchain.core.walk import definitions, walk
from optchain.moments.adam import scale_by_adam
from optchain.sharding.owned import Owned
from optchain.sharding.ravel import Raveled, in_boxes, mesh_with, no_axis_divides

SMALL = 2**14  # entries: the slots of fewer are not worth a round of messages


@dataclasses.dataclass(frozen=True)
class Flat(Around):
    """Runs `inner` on a tree whose leaves that no mesh axis divides are flat, and split over `axis`.

    State: as of every wrapper; the slots of flat leaves within it are flat too.
    """

    axis: str
    min_size: int

    name = "flat"

    def takes(self) -> frozenset[str]:
        return frozenset()

    def start(self, params: Any) -> dict[str, Any]:
        raveled = self.raveled(params)
        tx = raveled.inside(self.inner)
        return self.with_shown({self.name: {}, "inner": first_held("", tx, start(tx, raveled.of(params)))})

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(step, updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(propose, grads, state, params, given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(advance, grads, state, params, given)  # so new parameters are gathered in their own dtype

    def raveled(self, tree: Any, *others: Any) -> Raveled:
        """Which leaves of a tree like the parameters are flat; the other trees may say on which mesh."""
        mesh = mesh_with(self.name, self.axis, (tree, others))
        parts = 1 if mesh is None else mesh.shape[self.axis]
        boxed, leaves = in_boxes(tree), jax.tree.leaves(tree)
        whole, with_slots = list(boxed), [False] * len(leaves)
        for _, link in definitions(self.inner):
            if isinstance(link, Runner):
                for i, inside in enumerate(select(link.mask, tree, link.layers)):
                    whole[i] |= inside and not _takes_flat(link)
                    with_slots[i] |= inside and isinstance(link, Dense) and bool(link.Slots._fields)
        flat = [
            with_slots[i] and not whole[i] and x.size >= self.min_size and no_axis_divides(x.shape, parts)
            for i, x in enumerate(leaves)
        ]
        return Raveled(tree, mesh, self.axis, parts, flat)

    def _run(self, how: Callable[..., Any], grads: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        raveled = self.raveled(grads if params is None else params, grads, state)
        tx, ps = raveled.inside(self.inner), None if params is None else raveled.of(params)
        given = given.split(self.children())[""]
        new, held = stepped("", tx, raveled.of(grads), state["inner"], ps, given, how)
        return raveled.back(new), self.with_shown(state | {"inner": held}), {}


@technique(tx=scale_by_adam(), axis="x", min_size=1)
def flat(tx: optax.GradientTransformation, axis: str, min_size: int = SMALL) -> Transform:
    r"""Steps parameters that no axis of a mesh divides as flat arrays, of which each device has its share.

    `shardings(tx, params, over=axis)` splits the state of what has an axis that the mesh axis divides. A vector, or a
    matrix of 1001 x 333 on 8 devices, has none that `split_over` splits: its slots are whole on each device. Within
    `flat` such a leaf is raveled, padded with zeros to a multiple of the devices along `axis`, and split over them. So
    are its slots, for good; the new parameter is gathered once a step, in its own dtype. The updates are those of `tx`.

    That is right for what is elementwise. A leaf that any link mixes (by its norm, by rows, as a matrix), draws random
    numbers for, or reads an extra argument for, stays as it is; so does one without slots, one that an axis divides,
    and one in a box of Flax that names its axes. Masks and layers are asked about the parameters in their own shapes.

    Args:
        tx: a technique, or a chain of techniques. A norm over all leaves may be among them, because zeros add nothing
            to it. `guard`, `accumulate`, `groups` and `precision` stand outside: `guard(flat(tx, axis))`.
        axis: the name of a mesh axis along which the parameters are copies of one another, usually that of the data.
            Parameters bring their mesh; without one, and inside a `shard_map` over it, nothing is flat.
        min_size: leaves with fewer entries stay as they are, because each gather costs a round of messages.

    Shapes and dtypes: as for `tx`. The slots of a flat leaf of n entries on N devices have the shape
    :math:`(N \lceil n / N \rceil,)` and the layout that `oc.shardings` says. `state_by_parameters` gives the state with
    the parameters' shapes, which checkpoints keep and one device goes on with; `state_by_owners` takes it to a mesh.

    Raises:
        ValueError: a link that is not a technique of optchain, or that depends on how many entries there are; at `init`
            and `update` a mesh without this axis.

    References:
        Rajbhandari et al., 2020, section 5.1 (the partitioning). https://arxiv.org/abs/1910.02054

    >>> import optchain as oc
    >>> tx = oc.guard(oc.flat(oc.adamw(1e-3), axis="data"))
    """
    if not isinstance(axis, str):
        raise ValueError(f"flat: axis must be the name of a mesh axis, got {axis!r}")
    whole("flat", "min_size", min_size, 1)
    for prefix, inner in walk(tx):
        _require_techniques(prefix, inner)
    return transform(Flat(tx, axis, min_size))


def _require_techniques(prefix: str, tx: Any) -> None:
    """A transformation is one that flat leaves go through, or an error names it."""
    link = definition_of(tx)
    name = repr(prefix or describe.technique(tx))
    if isinstance(link, Joint) and not link.rule.ignores_zeros:
        raise ValueError(f"flat: link {name} depends on how many entries there are; put it before or after flat(...)")
    if not isinstance(link, Chain) and type(link) not in (Dense, Owned, Joint):
        raise ValueError(
            f"flat: link {name} is not a single technique of optchain, so flat cannot tell what it mixes; "
            "put wrappers outside of flat(...)"
        )


def _takes_flat(link: Any) -> bool:
    """Whether a link does the same with a leaf that is raveled and padded with zeros."""
    if isinstance(link, Joint):
        return True
    return link.rule.core_ndim == 0 and not seeds(type(link.rule)) and not set(link.rule.extras) - {"path", "value"}
