"""The reference runner: the law of a rule on every leaf of the tree."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.axes import Axes, following, slot_axes
from optchain.core.batches import batched
from optchain.core.boxes import Boxes, boxes_of
from optchain.core.definition import Result
from optchain.core.factors import factors_of, multiplied
from optchain.core.form import PLAIN, Form, forms
from optchain.core.gather import is_explicit, layout
from optchain.core.holes import HOLE, is_hole
from optchain.core.law import Law, plain
from optchain.core.layers import depths
from optchain.core.numbers import seeds
from optchain.core.paths import named_leaves, names_of
from optchain.core.rule import KEPT_BY_THE_LINK, core_of
from optchain.core.runner import Now, Runner
from optchain.core.views import Views


@dataclasses.dataclass(frozen=True)
class Dense(Runner):
    """Runs a rule on each leaf by itself, in the form that its layers and its matrix view give it."""

    views: Views = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def mixes(self) -> bool:
        return self.rule.core_ndim != 0 or bool(seeds(type(self.rule)))

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        depths(self.layers, params)  # a wrong declaration is an error for an elementwise rule too
        leaves, treedef = jax.tree.flatten(params)
        rows = [form.over(rule.init)(p) for form, p in zip(self._forms(params), leaves, strict=True)]
        rows = [row if isinstance(row, jax.Array) else row or () for row in rows]
        boxes, explicit = boxes_of(treedef), any(map(is_explicit, leaves))
        if boxes is None and not explicit:
            return self._columns(rows, treedef)
        axes = self.axes(params)
        if explicit:
            rows = [following(row, table, p) for row, table, p in zip(rows, axes, leaves, strict=True)]
        columns = self._columns(rows, treedef)
        if boxes is None:
            return columns
        return {slot: boxes.named(tree, [table.get(slot) for table in axes], leaves) for slot, tree in columns.items()}

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        gs, treedef = jax.tree.flatten(updates)
        ps = [None] * len(gs) if params is None else treedef.flatten_up_to(params)
        boxes = boxes_of(treedef)
        olds = self._rows(slots, treedef, boxes)
        extras = [{}] * len(gs)
        if now.trees:
            columns = zip(*map(treedef.flatten_up_to, now.trees.values()), strict=True)
            extras = [dict(zip(now.trees, column, strict=True)) for column in columns]
        rows = list(zip(gs, olds, ps, extras, strict=True))
        if now.given.factors or now.given.around or "path" in rule.extras:
            made = [law(*row) for law, row in zip(self._own_laws(rule, updates, now), rows, strict=True)]
        else:
            shared = functools.cache(lambda dtype: self.law(rule, dtype, now))
            made = self._made(rule, [shared(g.dtype) for g in gs], updates, rows)
        us, news = self._checked(made, rows, updates)
        columns = self._columns(news, treedef) if slots else {}
        if boxes is not None:
            columns = {slot: boxes.put_as(slots[slot], tree) for slot, tree in columns.items()}
        return treedef.unflatten(us), columns, {}

    def axes(self, params: Any) -> list[dict[str, Axes]]:
        """For each parameter with slots, the axes that each slot of it follows."""
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        pairs = zip(self._forms(params), jax.tree.leaves(params), strict=True)
        return [slot_axes(self.name, rule, form, p) for form, p in pairs]

    def law(self, rule: Any, dtype: Any, now: Now) -> Law:
        """The law of one leaf of a dtype, for one array."""
        return plain(rule, dtype, now)

    @functools.cached_property
    def _Slots(self) -> type[Any]:
        return slots_of(self._at(jnp.zeros((), jnp.int32), {})[0])

    def _made(self, rule: Any, laws: list[Law], updates: Any, rows: list[Any]) -> list[tuple[Any, Any]]:
        """The update and the slots of each leaf, where leaves of one dtype have one law."""
        if rule.core_ndim == 0:
            return [law(*row) for law, row in zip(laws, rows, strict=True)]
        shapes = self._forms(updates)
        laws = [law if form is PLAIN else form.around(law) for law, form in zip(laws, shapes, strict=True)]
        if not rule.batched:
            return [law(*row) for law, row in zip(laws, rows, strict=True)]
        # Arrays with other layouts do not stack on a mesh with explicit axes.
        keys = [(row[0].shape, row[0].dtype, layout(row[0]), form) for row, form in zip(rows, shapes, strict=True)]
        return batched(laws, rows, keys)

    def _own_laws(self, rule: Any, updates: Any, now: Now) -> list[Law]:
        """The law of each leaf, where it is the leaf's own."""
        laws = []
        for (leaf, g), form in zip(named_leaves(updates), self._forms(updates), strict=True):
            leaf_rule = multiplied(self.name, rule, factors_of(now.given.factors, leaf), leaf)
            hers = now
            if "path" in rule.extras:
                hers = dataclasses.replace(now, scalars={**now.scalars, "path": leaf})
            law = self.law(leaf_rule, g.dtype, hers)
            law = law if form is PLAIN else form.around(law)
            laws.append(law if now.given.around is None else now.given.around(law, leaf_rule, leaf, g, form))
        return laws

    def _forms(self, tree: Any) -> list[Form]:
        """The form of each leaf; an elementwise rule sees all as they are."""
        if self.rule.core_ndim == 0:
            return [PLAIN] * len(jax.tree.leaves(tree))
        rule = self._at(jnp.zeros((), jnp.int32), {})[0] if self.views else self.rule
        return forms(self.name, rule, self.layers, self.views, tree)

    def _rows(self, slots: dict[str, Any], treedef: Any, boxes: Boxes | None) -> list[Any]:
        """The slots of each leaf, None for one that it does not have."""
        Slots = self._Slots
        if slots.keys() != set(Slots._fields):
            raise ValueError(f"{self.name}: the state has the slots {sorted(slots)}, expected {sorted(Slots._fields)}")
        if not slots:
            return [Slots()] * treedef.num_leaves
        columns = [self._column(name, slots[name], treedef, boxes) for name in Slots._fields]
        for i, column in enumerate(columns):
            if type(HOLE) in set(map(type, column)):
                columns[i] = [None if is_hole(x) else x for x in column]
        return list(map(Slots, *columns))

    def _column(self, slot: str, tree: Any, treedef: Any, boxes: Boxes | None) -> list[Any]:
        """The arrays of one slot in the order of the updates."""
        try:
            return treedef.flatten_up_to(tree) if boxes is None else boxes.contents(tree)
        except ValueError:
            raise self._unheld(slot, tree, treedef.unflatten(range(treedef.num_leaves))) from None

    def _unheld(self, slot: str, tree: Any, updates: Any) -> ValueError:
        """Which leaf has a slot and no update, or the other way round."""
        held, given = (set(names_of(x)) for x in (tree, updates))
        leaf = next(iter(sorted(held ^ given)), "")
        state = "held" if leaf in held else "not held"
        problem = (
            f"the slot {slot!r} is {state} for leaf {leaf!r}, which is {'left out' if leaf in held else 'there'} now"
        )
        return ValueError(f"{self.name}: {problem}; update with the structure that init had, and with the parameters")

    def _columns(self, rows: list[Any], treedef: Any) -> dict[str, Any]:
        """The slots as trees by name, with a hole where a leaf does not have one."""
        columns = {}
        for i, name in enumerate(self._Slots._fields):
            columns[name] = treedef.unflatten([HOLE if row[i] is None else row[i] for row in rows])
        return columns

    def _checked(self, made: list[Any], rows: list[Any], updates: Any) -> tuple[list[Any], list[Any]]:
        """The updates and slots, which have the shapes that came in, in the dtypes that came in."""
        us, rest = [], []
        # No call for a leaf that is as it should be: this runs for every leaf of every link.
        for i, (result, (g, olds, _, _)) in enumerate(zip(made, rows, strict=True)):
            if type(result) is not tuple or len(result) != 2:
                kind = type(result).__name__
                raise ValueError(f"{self.name}: update must return the update and the slots, got {kind}")
            u, news = result
            if len(news) != len(olds) or u.shape != g.shape:
                raise self._misshapen(i, result, rows[i], updates)
            narrow = u.dtype != g.dtype
            for new, old in zip(news, olds, strict=True):
                if new is not old:
                    if new is None or old is None or new.shape != old.shape:
                        raise self._misshapen(i, result, rows[i], updates)
                    narrow = narrow or new.dtype != old.dtype
            if narrow:
                u, news = u.astype(g.dtype), jax.tree.map(lambda x, old: x.astype(old.dtype), type(olds)(*news), olds)
            us.append(u)
            rest.append(news)
        return us, rest

    def _misshapen(self, i: int, result: Any, row: Any, updates: Any) -> ValueError:
        leaf = names_of(updates)[i]
        expected, shapes = (jax.tree.map(jnp.shape, (u, tuple(s))) for u, s in (row[:2], result))
        return ValueError(f"{self.name} turns leaf {leaf!r} and its slots {expected} into {shapes}")


class NoSlots(NamedTuple):
    """The slots of a rule that remembers nothing."""


def slots_of(rule: Any) -> type[Any]:
    """The NamedTuple of a rule's slots."""
    slots = jax.eval_shape(rule.init, jax.ShapeDtypeStruct((1,) * (core_of(rule, 2) or 0), jnp.float32))
    if slots != () and not hasattr(slots, "_fields"):
        made = type(slots).__name__
        raise ValueError(f"{type(rule).__name__}.init must return a NamedTuple of arrays or (), got {made}")
    for name in set(getattr(slots, "_fields", ())) & set(KEPT_BY_THE_LINK):
        raise ValueError(f"{type(rule).__name__}: no slot can be called {name!r}, which the link keeps; rename it")
    return type(slots) if slots else NoSlots
