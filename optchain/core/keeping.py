"""How the state of a link keeps its slots, and what that adds to the law of a leaf: nothing, where they are as laws
have them. In fewer bits `optchain.storage` keeps them, by another `Keeping`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from optchain.core.axes import Axes
from optchain.core.boxes import Boxes
from optchain.core.holes import HOLE, is_hole
from optchain.core.law import Law
from optchain.core.runner import Now
from optchain.core.slots import unheld


@dataclasses.dataclass(frozen=True)
class Keeping:
    """Slots as laws have them, in one tree each."""

    in_codes = False  # whether arrays of the state are not those of a law, so that the law of each leaf is another one

    def __str__(self) -> str:
        return ""

    def first(self, owner: str, params: Any, rows: list[Any]) -> list[Any]:
        """The slots of each leaf as they are kept before the first step."""
        return rows

    def around(self, law: Law, link: Any, rule: Any, leaf: str, form: Any, now: Now) -> Law:
        """The law of a leaf whose slots are kept, from that of the leaf."""
        return law

    def keys(self, slot: str) -> tuple[str, ...]:
        """The names of the trees that hold a slot."""
        return (slot,)

    def trees(self, owner: str, slots: dict[str, Any]) -> dict[str, Any]:
        """The trees that hold the slots, by name: of a slot in a code those of its codes and of its scales."""
        return slots

    def columns(self, owner: str, slots: dict[str, Any], treedef: Any, boxes: Boxes | None) -> dict[str, list[Any]]:
        """The slots of all leaves in the order of the updates, None for one that a leaf does not have."""
        columns = {}
        for slot, tree in slots.items():
            try:
                column = treedef.flatten_up_to(tree) if boxes is None else boxes.contents(tree)
            except ValueError:
                raise unheld(owner, slot, tree, treedef.unflatten(range(treedef.num_leaves))) from None
            if type(HOLE) in set(map(type, column)):
                column = [None if is_hole(x) else x for x in column]
            columns[slot] = column
        return columns

    def kept(self, names: Sequence[str], rows: list[Any], treedef: Any, boxed: Any = None) -> dict[str, Any]:
        """The slots as the state has them, from those of each leaf.

        Args:
            names: of the slots.
            rows: for each leaf an array in the order of the names, or None, where the tree gets a hole.
            treedef: that of the parameters.
            boxed: from the name of a tree, and the tree, to the one whose boxes are as they should be.
        """
        trees = {}
        for i, name in enumerate(names):
            trees[name] = treedef.unflatten([HOLE if row[i] is None else row[i] for row in rows])
        return trees if boxed is None else {name: boxed(name, tree) for name, tree in trees.items()}

    def axes(self, params: Any, shapes: list[Any], tables: list[dict[str, Axes]]) -> list[dict[str, Axes]]:
        """For each parameter, the axes that the trees of its slots follow, from those that the slots follow."""
        return tables

    def encoded(self, owner: str, slot: str, leaf: str, x: Any) -> Any:
        """A slot of a leaf as it is kept, where it is kept in a code."""
        return x

    def in_one_axis(self, params: Any) -> set[str]:
        """The names of the leaves with one axis that are large enough to be kept in blocks."""
        return set()

    def bare(self) -> "Keeping":
        """The same for leaves of all sizes and names."""
        return self


AS_THEY_ARE = Keeping()
