"""Parameter groups: ordered rules that say what happens to which parameter."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.chain import Chain, automatic_name
from optchain.core.describe import table
from optchain.core.mask import Mask
from optchain.core.paths import nearest, path_of
from optchain.core.row_gradient import require_taken
from optchain.core.runner import Factors, Result, like, require_aligned
from optchain.core.transform import Transform, add_update, names, ours, step, technique, transform, widened
from optchain.masking.rules import Group, assign, checked_rule, label, part
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Groups:
    """Runs `inner` on all leaves whose group has factors, and each other transformation on those of its own group.

    State: `{"inner": state, "others": {name: state}, "metrics": {name: f32[]}}`; frozen leaves have no part in it.
    """

    inner: Any
    rules: tuple[Group, ...]

    name = "groups"

    def __str__(self) -> str:
        return table(self)

    @property
    def others(self) -> dict[str, Any]:
        """The transformations of groups that have their own, named as the positional links of a chain."""
        taken, found = {number.partition(".")[0] for number in names(self.inner)}, {}
        for group in self.rules:
            if isinstance(group.what, optax.GradientTransformation):
                base = automatic_name(group.what)
                numbered = (base if n == 1 else f"{base}_{n}" for n in range(1, len(self.rules) + len(taken) + 2))
                found[next(name for name in numbered if name not in taken and name not in found)] = group.what
        return found

    def names(self) -> list[str]:
        """The numbers of `inner` by their own names, those of the others by dotted names."""
        return names(self.inner) + [f"{name}.{number}" for name, tx in self.others.items() for number in names(tx)]

    def metrics(self) -> dict[str, jax.Array]:
        """The metrics are kept in the state."""
        return {}

    def init(self, params: Any) -> dict[str, Any]:
        taken, states, found = assign(self.rules, params), {}, {}
        for name, tx, rules in self.members():
            own = part(params, [i in rules for i in taken])
            states[name] = tx.init(own if ours(tx) else widened(own))
            if ours(tx) and not isinstance(tx.link, Chain):
                found |= _prefixed(name, tx.link.metrics())
        return _state(states, found)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        new, state, _ = self.step(updates, state, params, extra)
        return like(new, updates), state

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update that stays in float32 or wider; zeros for frozen leaves."""
        nothing = jax.tree.map(jnp.zeros_like, widened(updates))
        return *self._run(updates, state, params, extra, nothing, step), {}

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that rounds to the parameters' dtype once and does not touch frozen ones."""
        return self._run(grads, state, params, extra, params, _advance)

    def _run(self, updates: Any, state: Any, params: Any, extra: Any, rest: Any, take: Any) -> tuple[Any, Any]:
        """What each transformation makes of its leaves, together with `rest` for frozen ones, and the new state."""
        if not isinstance(state, dict) or set(state) != {"inner", "others", "metrics"}:
            raise ValueError(f"groups: the state is no state of groups: {type(state).__name__}; see tx.init(params)")
        require_taken(self, updates)
        if params is not None:
            require_aligned(self.name, updates, params)
        taken, routed = assign(self.rules, updates), self._route(extra.get("hyper") or {})
        forwarded = {key: x for key, x in extra.items() if key != "hyper"}
        results, treedef = jax.tree.flatten(rest)
        states, metrics = {}, {}
        for name, tx, rules in self.members():
            inside = [i in rules for i in taken]
            own = forwarded | ({"hyper": routed[name]} if name in routed else {})
            if name == "inner":
                own |= self._factors(updates, taken, extra.get("factors", {}))
            before = state["inner"] if name == "inner" else state["others"][name]
            pruned = None if params is None else part(params, inside)
            new, states[name], found = take(tx, part(updates, inside), before, pruned, own)
            metrics |= _prefixed(name, found)
            made = treedef.flatten_up_to(new)
            results = [x if chosen else old for x, old, chosen in zip(made, results, inside, strict=True)]
        return treedef.unflatten(results), _state(states, metrics)

    def members(self) -> list[tuple[str, Any, list[int]]]:
        """Each transformation with its name and the indices of its rules."""
        shared = [i for i, group in enumerate(self.rules) if isinstance(group.what, dict)]
        own = [i for i, group in enumerate(self.rules) if isinstance(group.what, optax.GradientTransformation)]
        others = self.others.items()
        return [("inner", self.inner, shared), *((name, tx, [i]) for (name, tx), i in zip(others, own, strict=True))]

    def _factors(self, updates: Any, taken: list[int], outer: Factors) -> dict[str, Factors]:
        """The extra argument that tells links the factors of each leaf: these and those of groups around."""
        found = {name: dict(by_path) for name, by_path in outer.items()}
        for (path, _), i in zip(jax.tree.leaves_with_path(updates), taken, strict=True):
            leaf, what = path_of(path), self.rules[i].what
            for name, factor in what.items() if isinstance(what, dict) else ():
                by_path = found.setdefault(name, {})
                by_path[leaf] = by_path.get(leaf, 1.0) * factor
        return {"factors": found} if found else {}

    def _route(self, hyper: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The overrides of each transformation."""
        others, routed = self.others, {}
        for name, value in hyper.items():
            dotted = name.removeprefix("?")
            if name == dotted and dotted not in self.names() and ours(self.inner):
                raise ValueError(f"groups has no number {name!r} to override; {nearest(name, self.names())}")
            head, _, rest = dotted.partition(".")
            if head in others:
                routed.setdefault(head, {})[rest if name == dotted else f"?{rest}"] = value
            else:
                routed.setdefault("inner", {})[name] = value
        return routed


def _state(states: dict[str, Any], metrics: dict[str, jax.Array]) -> dict[str, Any]:
    others = {name: x for name, x in states.items() if name != "inner"}
    return {"inner": states["inner"], "others": others, "metrics": metrics}


def _prefixed(name: str, metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {key if name == "inner" else f"{name}.{key}": x for key, x in metrics.items()}


def _advance(tx: Any, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
    """`oc.apply` for a transformation that stands within another and may have metrics to show."""
    if hasattr(getattr(tx, "link", None), "apply"):
        return *tx.link.apply(updates, state, params, **extra), {}
    new, state, found = step(tx, updates, state, params, extra)
    return jax.tree.map(add_update, params, new), state, found


@technique(tx=scale(-0.1), rules={"*": {"step_size": 0.5}})
def groups(tx: optax.GradientTransformation, rules: Mapping[Any, Any] | Sequence[tuple[Mask, Any]]) -> Transform:
    r"""Gives groups of parameters other numbers, transformations of their own, or no step at all.

    The rules are tried in order, and the first that matches takes the parameter. What a rule says is

    - a table of factors for numbers of `tx` by name, `{"learning_rate": 0.1, "weight_decay": 0.0}`: in the step of
      these leaves every number of that name is multiplied; `{}` leaves all as it is;
    - `optchain.FROZEN`: no step and not one byte of state;
    - another transformation, which then steps these leaves instead of `tx`.

    Leaves with factors stay together: `tx` has one state, one count, and one global norm for all of them. Frozen leaves
    and those with their own transformation are not in that norm; to clip all together, put the clip before the groups
    in a chain. All transformations step at the same updates.

    Args:
        tx: the transformation of all groups that have factors; they reach its links through our wrappers and optax's.
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
