"""The reference runner: a rule on every leaf of the tree; and `lift`, which makes a rule a public function."""

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optchain.core.form import Form, forms
from optchain.core.gather import scattered
from optchain.core.layers import Layers
from optchain.core.paths import path_of
from optchain.core.rule import bind, constraints, core_of
from optchain.core.runner import Result, Runner, Told, left_out
from optchain.core.transform import Transform, transform
from optchain.core.views import Views


@dataclasses.dataclass(frozen=True)
class Dense(Runner):
    """Runs a rule on each leaf by itself, in the form that its layers and its matrix view give it."""

    layers: Layers | None = None
    views: Views = dataclasses.field(default_factory=dict)

    def start(self, rule: Any, params: Any) -> dict[str, Any]:
        leaves, treedef = jax.tree.flatten(params)
        seen = forms(self.name, rule, self.layers, self.views, params)
        slots = [form.over(rule.init)(p) for form, p in zip(seen, leaves, strict=True)]
        return self._columns(slots_of(rule), slots, treedef)

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, t: jax.Array, told: Told) -> Result:
        Slots = slots_of(rule)
        if set(Slots._fields) != set(slots):
            raise ValueError(f"{self.name}: the state has the slots {sorted(slots)}, wanted {sorted(Slots._fields)}")
        paths, treedef = jax.tree.flatten_with_path(updates)
        names = [path_of(path) for path, _ in paths]
        seen = forms(self.name, rule, self.layers, self.views, updates)
        trees = {"g": updates, "p": params} | told.trees
        columns = {
            key: [None] * len(names) if tree is None else treedef.flatten_up_to(tree) for key, tree in trees.items()
        }
        slot_columns = [treedef.flatten_up_to(slots[name]) for name in Slots._fields]
        columns["s"] = [
            Slots(*(None if left_out(column[i]) else column[i] for column in slot_columns)) for i in range(len(names))
        ]
        us, news = [None] * len(names), [None] * len(names)
        for group in self._batches(columns["g"], seen, [told.factors_of(name) for name in names]):
            first = names[group[0]]
            rows = [seen[i].gathered({key: column[i] for key, column in columns.items()}) for i in group]
            own = told.multiplied(rule, first)
            if first in told.slept:
                rows[0]["slept"] = seen[group[0]].counted(told.slept[first], rows[0]["g"])
            law = seen[group[0]].over(self._law(own, rows[0]["g"].dtype, t, told.others(first)))
            if len(group) == 1:
                made = [self._checked(first, law(rows[0]), rows[0])]
            else:
                stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *rows)
                together = self._checked(first, jax.vmap(law)(stacked), stacked)
                made = [jax.tree.map(lambda x, n=n: x[n], together) for n in range(len(group))]
            for i, found in zip(group, made, strict=True):
                us[i], news[i] = jax.tree.map(scattered, found, (columns["g"][i], columns["s"][i]))
        return treedef.unflatten(us), self._columns(Slots, news, treedef), {}

    def one(self, rule: Any, g: jax.Array, s: Any, p: Any, t: jax.Array, **extras: Any) -> tuple[jax.Array, Any]:
        """The update and the new slots of one array."""
        return rule.update(g, s, p, t, **extras)

    def _law(self, rule: Any, dtype: Any, t: jax.Array, others: dict[str, Any]) -> Callable[[Any], Any]:
        """The rule's law as a function of all arrays of a leaf, in their dtype."""
        own = jax.tree.map(lambda number: number if isinstance(number, float) else number.astype(dtype), rule)

        def law(leaf: dict[str, Any]) -> Any:
            extras = {key: x for key, x in leaf.items() if key not in ("g", "s", "p", "slept")} | others
            s = own.sleep(leaf["s"], leaf["slept"].astype(dtype)) if "slept" in leaf else leaf["s"]
            result = self.one(own, leaf["g"], s, leaf["p"], t.astype(dtype), **extras)
            if isinstance(result, tuple) and len(result) == 2:
                return result
            raise ValueError(f"{self.name}: update must return the update and the slots, got {type(result).__name__}")

        return law

    def _checked(self, name: str, made: Any, own: dict[str, Any]) -> Any:
        """The update and the slots, which have the shapes that came in, in the dtypes that came in."""
        (u, new), g, s = made, own["g"], own["s"]
        found, wanted = jax.tree.map(jnp.shape, (u, tuple(new))), jax.tree.map(jnp.shape, (g, tuple(s)))
        if found != wanted:
            raise ValueError(f"{self.name} turns leaf {name!r} and its slots {wanted} into {found}")
        return u.astype(g.dtype), jax.tree.map(lambda x, old: x.astype(old.dtype), type(s)(*new), s)

    def _batches(self, gs: list[Any], seen: list[Form], factors: list[Any]) -> list[list[int]]:
        """The indices of the leaves that run in one call: those of the same shape where the rule wants it."""
        alike: dict[Any, list[int]] = {}
        batched = self.rule.batched and "path" not in self.rule.extras
        for i, (g, form, own) in enumerate(zip(gs, seen, factors, strict=True)):
            key = (g.shape, g.dtype, form) if batched and not own else i
            alike.setdefault(key, []).append(i)
        return list(alike.values())

    def _columns(self, Slots: type[Any], rows: list[Any], treedef: Any) -> dict[str, Any]:
        """The slots as trees by name; what a leaf has not is left out there."""
        return {
            name: treedef.unflatten(
                [optax.MaskedNode() if getattr(s, name) is None else getattr(s, name) for s in rows]
            )
            for name in Slots._fields
        }


class NoSlots(NamedTuple):
    """The slots of a rule that remembers nothing."""


def slots_of(rule: Any) -> type[Any]:
    """The NamedTuple of a rule's slots, found without a parameter: placeholder trees have no leaf to ask."""
    slots = jax.eval_shape(rule.init, jax.ShapeDtypeStruct((1,) * (core_of(rule, 2) or 0), jnp.float32))
    if slots != () and not hasattr(slots, "_fields"):
        found = type(slots).__name__
        raise ValueError(f"{type(rule).__name__}.init must return a NamedTuple of arrays or (), got {found}")
    return type(slots) if slots else NoSlots


def lift(rule: type, name: str, runner: type[Runner] = Dense) -> Callable[..., Transform]:
    """The public function of a rule: its fields as arguments, its docstring, and a `mask`.

    Any number may be given as a schedule. The function's `mask` chooses the leaves that the technique applies to: see
    `optchain.core.mask.select`.

    Args:
        rule: a class made by `rule`.
        name: the technique's name, which is the function's and the default name of its link.
        runner: how the rule is run over a tree.
    """

    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"lift: {name!r} is no name of a link; wanted lower case letters, digits and underscores")

    def parameter(argument: str, default: Any) -> inspect.Parameter:
        given = inspect.Parameter.empty if default is dataclasses.MISSING else default
        return inspect.Parameter(argument, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=given)

    fields = [parameter(field.name, field.default) for field in dataclasses.fields(rule)]
    signature = inspect.Signature([*fields, parameter("mask", None)])
    allowed = constraints(rule)

    def technique(*args: Any, **kwargs: Any) -> Transform:
        arguments = bind(name, signature, allowed, args, kwargs)
        mask = arguments.pop("mask")
        return transform(runner(rule(**arguments), name, mask))

    technique.__name__ = technique.__qualname__ = name
    technique.__module__ = rule.__module__
    technique.__doc__ = rule.__doc__
    technique.__signature__ = signature  # pyright: ignore
    technique.rule = rule  # pyright: ignore
    technique.example = getattr(rule, "example", {})  # pyright: ignore
    return technique
