"""The reference runner: a rule on every leaf of the tree; and `lift`, which makes a rule a public function."""

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.layers import Layers, depths
from optchain.core.paths import path_of
from optchain.core.rule import bind, constraints
from optchain.core.runner import Factors, Result, Runner
from optchain.core.transform import Transform, transform


@dataclasses.dataclass(frozen=True)
class Dense(Runner):
    """Runs a rule on each leaf by itself, and on each layer by itself where leading axes are declared to count them."""

    layers: Layers | None = None

    def start(self, rule: Any, params: Any) -> dict[str, Any]:
        leaves, treedef = jax.tree.flatten_with_path(params)
        slots = [
            self._by_layer(path, p, depth, rule.init)(p)
            for (path, p), depth in zip(leaves, depths(self.layers, params), strict=True)
        ]
        return {name: treedef.unflatten([getattr(s, name) for s in slots]) for name in slots_of(rule)._fields}

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, t: jax.Array, factors: Factors) -> Result:
        leaves, treedef = jax.tree.flatten_with_path(updates)
        ps = [None] * len(leaves) if params is None else treedef.flatten_up_to(params)
        Slots = slots_of(rule)
        if set(Slots._fields) != set(slots):
            raise ValueError(f"{self.name}: the state has the slots {sorted(slots)}, wanted {sorted(Slots._fields)}")
        columns = [treedef.flatten_up_to(slots[name]) for name in Slots._fields]
        us, news = [], []
        for i, ((path, g), p, depth) in enumerate(zip(leaves, ps, depths(self.layers, updates), strict=True)):
            own = multiplied(rule, factors, path)
            u, s = self._leaf(path, depth, own, g, Slots(*(column[i] for column in columns)), p, t)
            us.append(u)
            news.append(s)
        made = {name: treedef.unflatten([getattr(s, name) for s in news]) for name in Slots._fields}
        return treedef.unflatten(us), made, {}

    def one(self, rule: Any, g: jax.Array, s: Any, p: Any, t: jax.Array) -> tuple[jax.Array, Any]:
        """The update and the new slots of one leaf."""
        return rule.update(g, s, p, t)

    def _leaf(self, path: Any, depth: int, rule: Any, g: Any, s: Any, p: Any, t: Any) -> tuple[jax.Array, Any]:
        own = jax.tree.map(lambda number: number if isinstance(number, float) else number.astype(g.dtype), rule)

        def one(g: jax.Array, s: Any, p: Any) -> tuple[jax.Array, Any]:
            result = self.one(own, g, s, p, t.astype(g.dtype))
            if isinstance(result, tuple) and len(result) == 2:
                return result
            raise ValueError(f"{self.name}: update must return the update and the slots, got {type(result).__name__}")

        u, new = self._by_layer(path, g, depth, one)(g, s, p)
        found, wanted = jax.tree.map(jnp.shape, (u, tuple(new))), jax.tree.map(jnp.shape, (g, tuple(s)))
        if found != wanted:
            raise ValueError(f"{self.name} turns leaf {path_of(path)!r} and its slots {wanted} into {found}")
        return u.astype(g.dtype), type(s)(*(x.astype(old.dtype) for x, old in zip(new, s, strict=True)))

    def _by_layer(self, path: Any, x: jax.Array, depth: int, law: Callable[..., Any]) -> Callable[..., Any]:
        """The law of one leaf, mapped over the axes that count its layers; an elementwise law needs no mapping."""
        core = self.rule.core_ndim
        if core in (1, 2) and x.ndim - depth != core:
            found = f"leaf {path_of(path)!r} has shape {x.shape}" + (f", {depth} of it layers" if depth else "")
            cure = "declare axes that count layers with over_layers, or leave it out with a mask"
            raise ValueError(f"{self.name} looks across {core} axes: {found}; {cure}")
        for _ in range(0 if core == 0 else depth):
            law = jax.vmap(law)
        return law


def multiplied(rule: Any, factors: Factors, path: Any) -> Any:
    """The rule for one leaf, whose numbers are multiplied by the leaf's own factors."""
    leaf = path_of(path) if factors else ""
    changed = {name: getattr(rule, name) * by_path[leaf] for name, by_path in factors.items() if leaf in by_path}
    return dataclasses.replace(rule, **changed)


class NoSlots(NamedTuple):
    """The slots of a rule that remembers nothing."""


def slots_of(rule: Any) -> type[Any]:
    """The NamedTuple of a rule's slots, found without a parameter: placeholder trees have no leaf to ask."""
    slots = jax.eval_shape(rule.init, jax.ShapeDtypeStruct((1,) * (rule.core_ndim or 0), jnp.float32))
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
