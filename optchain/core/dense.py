"""The reference runner: the law of a rule on every leaf of the tree."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.axes import Axes, following
from optchain.core.batches import batched
from optchain.core.boxes import Boxes, boxes_of
from optchain.core.definition import Result
from optchain.core.factors import factors_of, multiplied
from optchain.core.form import PLAIN, Form, forms
from optchain.core.gather import is_explicit, layout
from optchain.core.keeping import AS_THEY_ARE, Keeping
from optchain.core.law import Law, plain
from optchain.core.layers import depths
from optchain.core.numbers import seeds
from optchain.core.paths import matches, named_leaves, names_of
from optchain.core.runner import Now, Runner
from optchain.core.shard_law import WHOLE, Shard
from optchain.core.slots import shapes_of, slots_of
from optchain.core.spread import SPREAD
from optchain.core.views import Views


@dataclasses.dataclass(frozen=True)
class Dense(Runner):
    """Runs a rule on each leaf by itself, in the form that its layers and its matrix view give it."""

    views: Views = dataclasses.field(default_factory=dict)
    storage: Keeping = AS_THEY_ARE

    @property
    def on_shards(self) -> bool:
        return not self.storage.in_codes  # a leaf is gathered where the rule needs it whole; blocks of codes are not

    @functools.cached_property
    def mixes(self) -> bool:
        return self.rule.core_ndim != 0 or bool(seeds(type(self.rule))) or self.storage.in_codes

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        depths(self.layers, params)  # a wrong declaration is an error for an elementwise rule too
        leaves, treedef = jax.tree.flatten(params)
        shards, seen = self._shards(params)
        triples = zip(shards, self._forms(seen), leaves, strict=True)
        rows = [shard.slots(self.name, rule, form, p) for shard, form, p in triples]
        rows = [row if isinstance(row, jax.Array) else row or () for row in rows]
        if any(map(is_explicit, leaves)):
            triples = zip(rows, self._slot_axes(params), leaves, strict=True)
            rows = [following(row, table, p) for row, table, p in triples]
        rows = self.storage.first(self.name, params, rows)
        boxes = boxes_of(treedef)
        if boxes is None:
            return self.storage.kept(self.Slots._fields, rows, treedef)
        axes = self.axes(params)
        named = lambda key, tree: boxes.named(tree, [x.get(key) for x in axes], leaves)  # noqa: E731
        return self.storage.kept(self.Slots._fields, rows, treedef, named)

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        gs, treedef = jax.tree.flatten(updates)
        ps = [None] * len(gs) if params is None else treedef.flatten_up_to(params)
        boxes = boxes_of(treedef)
        olds = self.rows(slots, treedef, boxes)
        extras = [{}] * len(gs)
        if now.trees:
            columns = zip(*map(treedef.flatten_up_to, now.trees.values()), strict=True)
            extras = [dict(zip(now.trees, column, strict=True)) for column in columns]
        rows = list(zip(gs, olds, ps, extras, strict=True))
        given = now.given
        own = given.factors or given.around or given.instead or self.storage.in_codes or "path" in rule.extras
        if own or SPREAD.get() is not None:
            laws = self._own_laws(rule, updates, params, now)
            us, news = self.checked([law(*row) for law, row in zip(laws, rows, strict=True)], rows, updates)
        else:
            shared = functools.cache(lambda dtype: self.law(rule, dtype, now))
            us, news = self.checked(self._made(rule, [shared(g.dtype) for g in gs], updates, rows), rows, updates)
        if not slots:
            return treedef.unflatten(us), {}, {}
        boxed = None
        if boxes is not None:
            trees = self.storage.trees(self.name, slots)
            boxed = lambda key, tree: boxes.put_as(trees[key], tree)  # noqa: E731
        return treedef.unflatten(us), self.storage.kept(self.Slots._fields, news, treedef, boxed), {}

    def axes(self, params: Any) -> list[dict[str, Axes]]:
        """For each parameter with slots, the axes that each array of them follows, by the names of `trees`."""
        return self.storage.axes(params, self.shapes(params), self._slot_axes(params))

    def shapes(self, params: Any) -> list[Any]:
        """For each parameter its slots as its law sees them, abstract."""
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        pairs = zip(self._forms(params), jax.tree.leaves(params), strict=True)
        return [shapes_of(rule, form, p) for form, p in pairs]

    def law(self, rule: Any, dtype: Any, now: Now) -> Law:
        """The law of one leaf of a dtype, for one array."""
        return plain(rule, dtype, now)

    @functools.cached_property
    def Slots(self) -> type[Any]:
        """The NamedTuple of the rule's slots."""
        return slots_of(self._at(jnp.zeros((), jnp.int32), {})[0])

    def _slot_axes(self, params: Any) -> list[dict[str, Axes]]:
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        shards, seen = self._shards(params)
        triples = zip(shards, self._forms(seen), jax.tree.leaves(params), strict=True)
        return [shard.axes(self.name, rule, form, p) for shard, form, p in triples]

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

    def _own_laws(self, rule: Any, updates: Any, params: Any, now: Now) -> list[Law]:
        """The law of each leaf, where it is the leaf's own."""
        laws = []
        shards, seen = self._shards(updates, params)
        for shard, form, (leaf, g) in zip(shards, self._forms(seen), named_leaves(updates), strict=True):
            leaf_rule = multiplied(self.name, rule, factors_of(now.given.factors, leaf), leaf)
            hers = now
            if "path" in rule.extras:
                hers = dataclasses.replace(now, scalars={**now.scalars, "path": leaf})
            law = self.law(leaf_rule, g.dtype, hers)
            law = law if form is PLAIN else form.around(law)
            law = law if now.given.around is None else now.given.around(law, leaf_rule, leaf, g, form)
            law = shard.around(law, self.name, leaf_rule, form)
            law = self.storage.around(law, self, leaf_rule, leaf, form, now)
            laws.append(law if now.given.instead is None else now.given.instead(law, self, leaf))
        return laws

    def _shards(self, tree: Any, *others: Any) -> tuple[list[Shard], Any]:
        """How the law meets each leaf, of which a device may have a shard (`over_axes`), and what it sees of them."""
        here = SPREAD.get()
        if here is None or not self.mixes:
            return [WHOLE] * jax.tree.structure(tree).num_leaves, tree
        treedef = jax.tree.structure(tree)
        columns = [treedef.flatten_up_to(other) for other in others if other is not None]
        shards, seen = [], []
        for i, ((leaf, x), depth) in enumerate(zip(named_leaves(tree), depths(self.layers, tree), strict=True)):
            split = here.split(leaf, x, *(column[i] for column in columns))
            viewed = any(matches(leaf, pattern) for pattern in self.views)
            shards.append(Shard.of(self.rule, split, x.ndim, depth, viewed))
            seen.append(shards[-1].seen(x))
        return shards, treedef.unflatten(seen)

    def _forms(self, tree: Any) -> list[Form]:
        """The form of each leaf; an elementwise rule sees all as they are."""
        if self.rule.core_ndim == 0:
            return [PLAIN] * len(jax.tree.leaves(tree))
        rule = self._at(jnp.zeros((), jnp.int32), {})[0] if self.views else self.rule
        return forms(self.name, rule, self.layers, self.views, tree)

    def rows(self, slots: dict[str, Any], treedef: Any, boxes: Boxes | None) -> list[Any]:
        """The slots of each leaf, None for one that it does not have."""
        Slots = self.Slots
        if slots.keys() != set(Slots._fields):
            raise ValueError(f"{self.name}: the state has the slots {sorted(slots)}, expected {sorted(Slots._fields)}")
        if not slots:
            return [Slots()] * treedef.num_leaves
        columns = self.storage.columns(self.name, slots, treedef, boxes)
        return list(map(Slots, *map(columns.__getitem__, Slots._fields)))

    def checked(self, made: list[Any], rows: list[Any], updates: Any) -> tuple[list[Any], list[Any]]:
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
