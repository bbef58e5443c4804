"""Parameter groups: ordered rules that say what happens to which parameter."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.chain import unused_name
from optchain.core.definition import Definition, Result
from optchain.core.holes import part
from optchain.core.layers import Layers
from optchain.core.lift import technique
from optchain.core.mask import Mask
from optchain.core.numerics import wide
from optchain.core.paths import names_of
from optchain.core.routing import Given, addressed
from optchain.core.states import as_metrics
from optchain.core.transform import Transform, advance, definition_of, propose, start, step, transform
from optchain.core.walk import main_numbers, numbers_of
from optchain.masking.rules import FROZEN, Group, assign, checked_rule, label, taker
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Groups(Definition):
    """Runs `inner` on all leaves whose group has factors, and each other transformation on those of its own group.

    State: `{"groups": {}, "inner": state, "others": {name: state}, "metrics": {name: f32[]}}`; frozen leaves have no
    part in it.
    """

    inner: Any
    rules: tuple[Group, ...]
    layers: Layers | None = None

    name = "groups"

    @functools.cached_property
    def others(self) -> dict[str, Any]:
        """The transformations of groups that have their own, named as the positional links of a chain."""
        taken, others = {name.partition(".")[0] for name in numbers_of(self.inner)}, {}
        for group in self.rules:
            if isinstance(group.what, optax.GradientTransformation):
                others[unused_name(group.what, taken | set(others))] = group.what
        return others

    def children(self) -> dict[str, Any]:
        return {"": self.inner, **self.others}

    def members(self) -> list[tuple[str, Any, list[int]]]:
        """Each transformation with the prefix of its numbers' names and the indices of its rules."""
        shared = [i for i, group in enumerate(self.rules) if isinstance(group.what, dict)]
        own = [i for i, group in enumerate(self.rules) if isinstance(group.what, optax.GradientTransformation)]
        return [
            ("", self.inner, shared),
            *((name, tx, [i]) for (name, tx), i in zip(self.others.items(), own, strict=True)),
        ]

    def parts(self, params: Any) -> list[tuple[str, Any, Any]]:
        """Each transformation with the prefix of its numbers' names and the parameters that it steps."""
        taken = assign(self.rules, params, self.layers)
        return [(name, tx, part(params, [i in rules for i in taken])) for name, tx, rules in self.members()]

    def moving(self, params: Any) -> Any:
        inside = [self.rules[i].what is not FROZEN for i in assign(self.rules, params, self.layers)]
        return params if all(inside) else part(params, inside)

    def start(self, params: Any) -> dict[str, Any]:
        states, shown = {}, {}
        for name, tx, inside in self.parts(params):
            states[name] = start(tx, inside)
            link = definition_of(tx)
            shown |= {} if link is None else _prefixed(name, link.metrics())
        return _state(states, shown)

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(step, updates, state, params, given, _zeros(updates))

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(propose, grads, state, params, given, _zeros(grads))

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One step that rounds to the parameters' dtype once and does not touch frozen ones."""
        return self._run(advance, grads, state, params, given, params)

    def _run(self, stepped: Any, grads: Any, state: Any, params: Any, given: Given, rest: Any) -> Result:
        """What each transformation makes of its leaves, together with `rest` for frozen ones, and the new state."""
        self.require_state(state)
        taken, routed = assign(self.rules, grads, self.layers), given.split(self.children())
        routed[""] = self._with_factors(grads, taken, routed[""])
        results, treedef = jax.tree.flatten(rest)
        states, shown = {}, {}
        for name, tx, rules in self.members():
            inside = [i in rules for i in taken]
            call = dataclasses.replace(routed[name], unmovable=self._unmovable(given, rules))
            before = state["others"][name] if name else state["inner"]
            new, states[name], computed = stepped(
                tx, part(grads, inside), before, None if params is None else part(params, inside), call
            )
            shown |= _prefixed(name, computed)
            made = treedef.flatten_up_to(new)
            results = [x if here else old for x, old, here in zip(made, results, inside, strict=True)]
        return treedef.unflatten(results), _state(states, shown), {}

    def _unmovable(self, given: Given, rules: list[int]) -> tuple[tuple[str, Any], ...]:
        """The leaves that cannot move among those that some of the rules take."""
        return tuple((leaf, g) for leaf, g in given.unmovable if taker(self.rules, leaf, g) in rules)

    @functools.cached_property
    def factors(self) -> list[dict[str, Any]]:
        """What each rule multiplies, by the dotted names of the numbers of `inner`; nothing where it does not."""
        names, main = numbers_of(self.inner), main_numbers(self.inner)
        tables = [group.what if isinstance(group.what, dict) else {} for group in self.rules]
        return [addressed("groups", table, names, main) for table in tables]

    def _with_factors(self, tree: Any, taken: list[int], given: Given) -> Given:
        """What `inner` receives, with the factors of each leaf: these, and those of groups around."""
        factors = {name: dict(by_leaf) for name, by_leaf in given.factors.items()}
        for leaf, i in zip(names_of(tree), taken, strict=True):
            for name, factor in self.factors[i].items():
                by_leaf = factors.setdefault(name, {})
                # A factor that is an array stays the same object, by which leaves that share it are known.
                by_leaf[leaf] = by_leaf[leaf] * factor if leaf in by_leaf else factor
        return dataclasses.replace(given, factors=factors) if factors else given


def _state(states: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    others = {name: x for name, x in states.items() if name}
    return {"groups": {}, "inner": states[""], "others": others, "metrics": as_metrics(shown)}


def _prefixed(name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}" if name else key: x for key, x in metrics.items()}


def _zeros(grads: Any) -> Any:
    return jax.tree.map(lambda g: jnp.zeros_like(wide(g)), grads)


@technique(tx=scale(-0.1), rules={"*": {"step_size": 0.5}})
def groups(tx: optax.GradientTransformation, rules: Mapping[Any, Any] | Sequence[tuple[Mask, Any]]) -> Transform:
    r"""Gives groups of parameters other numbers, transformations of their own, or no step at all.

    The rules are tried in order, and the first that matches takes the parameter. What a rule says is

    - a table of factors for numbers of `tx` by name, `{"learning_rate": 0.1, "weight_decay": 0.0}`: in the step of
      these leaves every number of that name is multiplied; `{}` leaves all as it is. A bare
      name is that of the links that make the update; another one, such as the slow step of a lookahead, has a dotted
      name (`"slow.learning_rate"`), and patterns (`"*.learning_rate"`) match whole names;
    - `optchain.FROZEN`: no step and not one byte of state;
    - another transformation, which then steps these leaves instead of `tx`.

    Leaves with factors stay together: `tx` has one state, one count, and one global norm for all of them. Frozen leaves
    and those with their own transformation are not in that norm; to clip all together, put the clip before the groups
    in a chain. All transformations step at the same updates. Rates that find themselves (`prodigy`, D-Adaptation,
    `dog`, `dowg`) keep one estimate under factors of `learning_rate` that differ.

    Args:
        tx: the transformation of all groups that have factors; they reach its links through all wrappers.
        rules: from a mask (a pattern on paths such as `"*/bias"`, a tuple of patterns, or, in a list of pairs, a
            predicate of (path, leaf)) to what happens. Factors are at least 0 and may be traced.

    Overrides by `hyper` and metrics have the names that they have in `tx`, and mean the number before its factor. Those
    of a group's own transformation begin with the name of its technique: `"sgd.lr.learning_rate"`. Numbers that only
    set up the state, such as an initial value, are not multiplied.

    Shapes and dtypes: any.

    Raises:
        ValueError: a factor for a number that `tx` does not have or that leaves the number's range; at `init` and
            `update`, a parameter that no rule takes, or a rule that takes none; factors that differ between leaves for
            a number that all leaves share, such as the bound on a global norm.

    >>> import optchain as oc
    >>> rules = {"embed/*": oc.FROZEN, "*/bias": {"weight_decay": 0.0}, "head/*": oc.sgd(0.1), "*": {}}
    >>> tx = oc.groups(oc.adamw(1e-3), rules)
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"groups: tx must be a gradient transformation, got {tx!r}")
    pairs = list(rules.items()) if isinstance(rules, Mapping) else rules
    if not isinstance(pairs, (list, tuple)) or not pairs or not all(_is_pair(pair) for pair in pairs):
        raise ValueError(f"groups: rules must be a table, or a list of pairs, of masks and what happens, got {rules!r}")
    return transform(Groups(tx, tuple(Group(mask, checked_rule(tx, label(mask), what)) for mask, what in pairs)))


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) and len(pair) == 2
