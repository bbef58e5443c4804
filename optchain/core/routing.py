"""Numbers have one address: dotted names of overrides and factors, split at every boundary by one router."""

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from optchain.core.extras import forgotten
from optchain.core.paths import nearest
from optchain.core.states import holds_ours, names_within
from optchain.core.transform import ours, transform
from optchain.core.walk import main_numbers, numbers_of, walk

Factors = Mapping[str, Mapping[str, Any]]  # by a number's dotted name and a leaf's path; 1 for a leaf that is not there


@jax.tree_util.register_pytree_with_keys_class
class Partial(dict[str, Any]):
    """Overrides of which each chain takes those that it has, where no one chain has all of them.

    Where a wrapper of optax is outermost, every chain within it receives the same `hyper`, and a plain dict with a name
    that one of them does not have is an error there. `hyper=oc.Partial({"adam.b1": 0.8})` is not.

    Args:
        overrides: numbers by their dotted names.

    >>> import optax
    >>> import optchain as oc
    >>> tx = optax.chain(oc.chain(adam=oc.scale_by_adam()), oc.chain(lr=oc.scale_by_learning_rate(0.1)))
    >>> params = {"w": jax.numpy.ones(2)}
    >>> updates, state = tx.update(params, tx.init(params), params, hyper=oc.Partial({"lr.learning_rate": 0.5}))
    >>> print(oc.metrics(state)["1.lr.learning_rate"])
    0.5
    """

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        super().__init__(overrides)

    def tree_flatten_with_keys(self) -> Any:
        return [(jax.tree_util.DictKey(key), self[key]) for key in sorted(self)], tuple(sorted(self))

    @classmethod
    def tree_unflatten(cls, keys: Any, values: Any) -> "Partial":
        return cls(dict(zip(keys, values, strict=True)))


@dataclasses.dataclass(frozen=True)
class Given:
    """What comes with an update besides gradients, state and parameters."""

    extra: Mapping[str, Any]  # the user's extra arguments, the same for all
    step: Any = None  # what schedules read; None: a link's own count
    hyper: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # overrides by the dotted name here
    factors: Factors = dataclasses.field(default_factory=dict)  # by the dotted name here
    unmovable: tuple[tuple[str, Any], ...] = ()  # leaves with a gradient that no law can take, by name
    around: Any = None  # a decorator of the law of one leaf, which an execution puts around every law within it
    instead: Any = None  # from the law of a leaf with all that is around it, its link and its name, to what is run
    told: Any = None  # called with each transformation that steps, and the updates that enter and leave it

    def at(self, step: Any) -> "Given":
        """The same at another step."""
        return dataclasses.replace(self, step=step)

    def with_extra(self, **extra: Any) -> "Given":
        """The same with other extra arguments besides."""
        return dataclasses.replace(self, extra={**self.extra, **extra})

    def asked(self, name: str, owner: str) -> Any:
        """An extra argument that its owner needs: the caller gives it, or None in a step that has none."""
        if name not in self.extra:
            raise forgotten(owner, name, self.extra)
        return self.extra[name]

    def split(self, prefixes: Iterable[str]) -> dict[str, "Given"]:
        """What goes to each child, by the name that a number has there."""
        if not self.hyper and not self.factors:
            return dict.fromkeys(prefixes, self)
        hyper, factors = split(self.hyper, prefixes), split(self.factors, prefixes)
        return {prefix: dataclasses.replace(self, hyper=hyper[prefix], factors=factors[prefix]) for prefix in prefixes}

    def forwarded(self, state: Any) -> dict[str, Any]:
        """The extra arguments of an optax transformation with this state.

        What optchain adds to those of the caller goes where some of optchain stands within: others may hand all that
        they receive to a function such as `value_fn`, or take none.
        """
        if not holds_ours(state):
            return dict(self.extra)
        added = {"hyper": Partial(self.hyper) or None, "factors": Partial(self.factors) or None, "step": self.step}
        rest = {name: x for name, x in self.extra.items() if name != "step"}
        return rest | {name: x for name, x in added.items() if x is not None}


def split(table: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Entries with dotted names by the prefix that they begin with; what has no other goes to the prefix `""`."""
    parts: dict[str, dict[str, Any]] = {prefix: {} for prefix in prefixes}
    for name, value in table.items():
        head = next((prefix for prefix in parts if prefix and name.startswith(f"{prefix}.")), "")
        parts.setdefault(head, {})[name[len(head) + 1 :] if head else name] = value
    return parts


def received(definition: Any, extra: dict[str, Any], state: Any, unmovable: Any) -> Given:
    """The extra arguments of a call from outside, with every pattern replaced by the names that it matches."""
    if not extra:
        return Given({}, unmovable=unmovable)
    rest = {name: x for name, x in extra.items() if name not in ("hyper", "factors")}
    hyper, factors = extra.get("hyper") or {}, extra.get("factors") or {}
    if hyper or factors:
        tx = transform(definition)
        names = [*numbers_of(tx), *_foreign_names(tx, state)]
        hyper = addressed(definition.name, hyper, names)
        factors = addressed(definition.name, factors, names, main_numbers(tx))
    return Given(rest, extra.get("step"), hyper, factors, unmovable)


def addressed(owner: str, table: Mapping[str, Any], names: Iterable[str], main: Iterable[str] = ()) -> dict[str, Any]:
    """A table whose keys are replaced by the names that they address.

    A key is a dotted name, a pattern that matches whole names (`*.learning_rate`), or, where `main` is given, the bare
    name of numbers of the links that make the update. Where several address one number, its own name counts before all
    others, regardless of the order of the table, which tracing sorts.
    """
    names, addresses = list(names), {}
    for key, value in sorted(table.items(), key=lambda item: (item[0] in names, item[0])):
        targets = [key] if key in names else fnmatch.filter(names, key)
        targets = targets or [name for name in main if name.rpartition(".")[2] == key]
        if not targets and not isinstance(table, Partial):
            raise ValueError(f"{owner} has no number {key!r}; {nearest(key, dict.fromkeys([*names, *main]))}")
        addresses |= dict.fromkeys(targets, value)
    return addresses


def _foreign_names(tx: Any, state: Any) -> list[str]:
    """The names of numbers in chains within optax's wrappers, which cannot be looked into: their states show them."""
    foreign = [prefix for prefix, inner in walk(tx) if not ours(inner)]
    if not foreign:
        return []
    return [
        name
        for name in names_within(state)
        if any(name.startswith(f"{prefix}." if prefix else "") for prefix in foreign)
    ]
