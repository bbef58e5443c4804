"""The law of a leaf of which each device has a shard: on the shard where the rule can, else on the gathered leaf."""

import dataclasses
from typing import Any

import jax

from optchain.core.axes import Axes, along, slot_axes
from optchain.core.form import Form
from optchain.core.law import Law
from optchain.core.rule import core_of
from optchain.core.spread import Split, gather, own_part, parts, splitting


@dataclasses.dataclass(frozen=True)
class Shard:
    """How a law meets one leaf: the axes that are gathered for it, and those that stay split while it runs."""

    gathered: Split
    kept: Split

    @classmethod
    def of(cls, rule: Any, split: Split, ndim: int, depth: int, viewed: bool) -> "Shard":
        """What a rule needs of a leaf with so many axes, of which so many count layers."""
        core = core_of(rule, ndim - depth)
        if not viewed and rule.on_shards:
            across = 0
        elif core == 0:  # it draws by the place of an entry in the leaf
            across = ndim
        else:
            across = ndim - depth if viewed or core is None else core
        gathered = {axis: names for axis, names in split.items() if axis >= -across}
        return cls(gathered, {axis: names for axis, names in split.items() if axis not in gathered})

    def seen(self, x: Any) -> jax.ShapeDtypeStruct:
        """The shape of the leaf as the law sees it."""
        shape = (n * parts(self.gathered.get(i - x.ndim, ())) for i, n in enumerate(x.shape))
        return jax.ShapeDtypeStruct(tuple(shape), x.dtype)

    def axes(self, owner: str, rule: Any, form: Form, p: Any) -> dict[str, Axes]:
        """The axes of the parameter that each slot follows."""
        with splitting(self.kept):
            return slot_axes(owner, rule, form, self.seen(p))

    def slots(self, owner: str, rule: Any, form: Form, p: jax.Array) -> Any:
        """The slots of a parameter, of each the part that belongs to the shard."""
        with splitting(self.kept):
            made = form.over(rule.init)(gather(p, self.gathered))
        splits = self._of_slots(owner, rule, form, p)
        return _each(own_part, made, splits)

    def around(self, law: Law, owner: str, rule: Any, form: Form) -> Law:
        """The law of the shard, from that of what it sees."""
        if self is WHOLE:
            return law

        def law_of_shard(g: Any, s: Any, p: Any, extras: dict[str, Any]) -> tuple[Any, Any]:
            if not self.gathered:
                with splitting(self.kept):
                    return law(g, s, p, extras)
            splits = self._of_slots(owner, rule, form, g)
            g, p, extras = jax.tree.map(lambda x: gather(x, self.gathered), (g, p, extras))
            with splitting(self.kept):
                u, s = law(g, _each(gather, s, splits), p, extras)
            return own_part(u, self.gathered), _each(own_part, s, splits)

        return law_of_shard

    def _of_slots(self, owner: str, rule: Any, form: Form, x: Any) -> dict[str, Split]:
        """Which axes of each slot are gathered: those that follow one of the leaf's that is."""
        if not self.gathered:
            return {}
        seen = self.seen(x)
        entries = [self.gathered.get(i - x.ndim, ()) for i in range(x.ndim)]
        with splitting(self.kept):
            shapes = jax.eval_shape(lambda p: form.over(rule.init)(p), seen)
        table = {}
        for slot, followed in self.axes(owner, rule, form, x).items():
            shape = getattr(shapes, slot).shape
            names = along(entries, followed, shape, seen.shape)
            table[slot] = {i - len(shape): own for i, own in enumerate(names) if own}
        return table


WHOLE = Shard({}, {})


def _each(function: Any, slots: Any, splits: dict[str, Split]) -> Any:
    """The slots with `function(slot, split)` of those that are split."""
    if not splits:
        return slots
    return slots._replace(**{name: function(getattr(slots, name), split) for name, split in splits.items() if split})
