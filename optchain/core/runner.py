"""From a rule to a definition: its numbers at this step, its link's own count, and what its means have seen."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Definition, Result
from optchain.core.door import require_shapes, widened
from optchain.core.extras import is_number
from optchain.core.holes import holed, merged, part
from optchain.core.layers import Layers
from optchain.core.mask import Mask, chooses, select
from optchain.core.numbers import means, numbers, resolved
from optchain.core.numerics import incremented, wide
from optchain.core.routing import Given
from optchain.core.seen import nothing_seen, with_sample
from optchain.core.trees import widest


@dataclasses.dataclass(frozen=True)
class Now:
    """What a law receives besides its arrays: its count, what its means have seen, and the rest of the call."""

    t: jax.Array
    seen: dict[str, jax.Array]
    given: Given
    trees: dict[str, Any]  # the extra arguments that are trees, with the holes of the updates
    scalars: dict[str, Any]  # the others, None in a step that has none


@dataclasses.dataclass(frozen=True)
class Runner(Definition):
    """A rule run over a tree; subclasses say how the slots are made (`slots`) and how the updates (`run`).

    State: `{name: {"count": i32[], "seen": {decay: {"log", "lost"}}, slot: tree like the parameters, ...}}`, `seen`
    where the rule has a `Mean`. Leaves outside `mask` pass unchanged, without slots.
    """

    rule: Any
    name: str
    mask: Mask | None = None
    layers: Layers | None = None

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        """The slots by name."""
        raise NotImplementedError

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        """The updates, the new slots, and the metrics that the rule computes anyway."""
        raise NotImplementedError

    @functools.cached_property
    def numbers(self) -> dict[str, Any]:  # pyright: ignore
        """The numbers that `hyper` may override, as they were given."""
        return numbers(self.rule)

    @property
    def reads(self) -> tuple[str, ...]:  # pyright: ignore
        return tuple(name for name in self.rule.extras if name != "path")

    @functools.cached_property
    def _is_constant(self) -> bool:
        return all(type(value) is float for value in self.numbers.values())

    def within(self, tree: Any) -> Any:
        return tree if self.mask is None else part(tree, select(self.mask, tree))

    def metrics(self) -> dict[str, Any]:
        return self._at(jnp.zeros((), jnp.int32), {})[1] | dict.fromkeys(self.rule.metrics, 0.0)

    def chosen(self, params: Any) -> Any:
        """The parameters with holes for those that the mask leaves out."""
        return params if self.mask is None else part(params, select(self.mask, params, self.layers))

    def start(self, params: Any) -> dict[str, Any]:
        params = widened(params)
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        seen = {name: nothing_seen(widest(params)) for name in means(type(self.rule))}
        return {self.name: self._state(jnp.zeros((), jnp.int32), seen, self.slots(rule, self.chosen(params)))}

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        if self.rule.needs_params:
            self.require_params(params)
        if given.unmovable:
            self._require_movable(given.unmovable)
        own, before = state[self.name], state[self.name]["count"]
        rule, values = self._at(before if given.step is None else given.step, given.hyper)
        count = incremented(before)
        slots, seen, weights = dict(own), {}, {}
        del slots["count"]
        for name, old in slots.pop("seen", {}).items():
            seen[name], weights[name] = with_sample(old, values[name])
        inside = None if self.mask is None else select(self.mask, updates, self.layers)
        chosen = updates if inside is None else part(updates, inside)
        ps = params if inside is None or params is None else part(params, inside)
        now = Now(count.astype(jnp.float32), weights, given, {}, {})
        if self.rule.extras:
            now = self._with_extras(now, chosen)
        new, slots, computed = self.run(rule, chosen, slots, ps, now)
        if inside is not None:
            new = merged(new, updates)
        return new, {self.name: self._state(count, seen, slots)}, values | computed if computed else values

    def _state(self, count: jax.Array, seen: dict[str, Any], slots: dict[str, Any]) -> dict[str, Any]:
        return {"count": count, "seen": seen, **slots} if seen else {"count": count, **slots}

    def _at(self, step: Any, hyper: Any) -> tuple[Any, dict[str, Any]]:
        """The rule and its numbers at one step."""
        if self._is_constant and not hyper:
            return self.rule, self.numbers
        values = resolved(self.name, self.rule, step, hyper)
        return dataclasses.replace(self.rule, **values), values

    def _with_extras(self, now: Now, updates: Any) -> Now:
        """What a law receives, with the extra arguments that the rule asks for: scalars, and trees like the updates."""
        trees, scalars = {}, {}
        for name in self.rule.extras:
            if name == "path":
                continue
            x = now.given.asked(name, self.name)
            if x is None:
                scalars[name] = None
            elif is_number(x):
                scalars[name] = wide(jnp.asarray(x))
            else:
                trees[name] = widened(fitted(self.name, name, x, updates))
        return dataclasses.replace(now, trees=trees, scalars=scalars)

    def _require_movable(self, unmovable: tuple[tuple[str, Any], ...]) -> None:
        """This technique leaves out all leaves that no law can move."""
        for leaf, g in unmovable:
            if self.mask is None or chooses(self.mask, leaf, g):
                cure = "leave it out with a mask, a group or a gradient of None"
                raise ValueError(f"{self.name}: leaf {leaf!r} is {g.dtype}, expected a real floating dtype; {cure}")


def fitted(owner: str, name: str, tree: Any, updates: Any) -> Any:
    """An extra argument with the leaves, holes and shapes of the updates, or an error that names the first leaf."""
    try:
        tree = holed(tree, updates)
    except ValueError:
        pass  # the leaf that differs is named below
    require_shapes(owner, updates, tree, f"values of {name}")
    return tree
