"""Wrappers that step every time and change what comes of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from optchain.core.definition import Definition, Result
from optchain.core.door import AXES, widened
from optchain.core.misfit import require_same_shapes
from optchain.core.routing import Given
from optchain.core.states import as_metrics
from optchain.core.transform import definition_of, moving, ours, start, step, takes
from optchain.core.walk import dotted, numbers_of


class Held(NamedTuple):
    """What a wrapper holds of a transformation within it: the state, and the metrics that the state does not hold."""

    state: Any
    metrics: dict[str, Any]  # by the names that the wrapper shows them under


@dataclasses.dataclass(frozen=True)
class Around(Definition):
    """A transformation around `inner`; subclasses say in `modify` what they make of its updates.

    State: `{name: its own arrays, "inner": state, "others": {name: state}, "metrics": {name: f32[]}}`, `others` where
    there are more transformations than `inner`.
    """

    inner: Any

    needs_params = False

    def __post_init__(self) -> None:
        others = self.others()
        heads = {name.partition(".")[0] for name in numbers_of(self.inner)} if others else set()
        for name in heads & set(others):
            raise ValueError(f"{self.name}: a link of tx is called {name!r}, as what the wrapper adds; rename the link")

    def others(self) -> dict[str, Any]:
        """The transformations beside `inner`, by the prefix of their numbers' names."""
        return {}

    def children(self) -> dict[str, Any]:
        return {"": self.inner, **self.others()}

    def moving(self, params: Any) -> Any:
        return moving(self.inner, params)

    def takes(self) -> frozenset[str]:
        return takes(self.inner) & AXES

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        """The new updates, and the new state without metrics, but each child as `inner_step` and `other_step` hold it;
        `routed` is what each child receives by its prefix."""
        raise NotImplementedError

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        """The metrics of the wrapper's own arrays."""
        return {}

    def start(self, params: Any) -> dict[str, Any]:
        held = {name: first_held(name, tx, start(tx, params)) for name, tx in self.children().items()}
        state = {self.name: self.begin(widened(params)), "inner": held.pop("")}
        return self.with_shown(state | ({"others": held} if held else {}))

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        if self.needs_params:
            self.require_params(params)
        routed = given.split(self.children())
        if given.unmovable:  # what `inner` leaves out the others need not move
            routed |= {name: dataclasses.replace(routed[name], unmovable=()) for name in self.others()}
        new, after = self.modify(updates, state, params, routed)
        require_same_shapes(state[self.name], after[self.name])
        return new, self.with_shown(after), {}

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        # What is wrapped may say in which dtypes its updates are handed out.
        return (
            self.inner.link.outgoing(new, grads, params) if ours(self.inner) else super().outgoing(new, grads, params)
        )

    def with_shown(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state whose metrics are those of the wrapper's own arrays and those of its children."""
        shown = {f"{self.name}.{key}": x for key, x in self.shown(state[self.name]).items()}
        inner, others = state["inner"], state.get("others", {})
        for held in (inner, *others.values()):
            shown |= held.metrics
        new = {self.name: state[self.name], "inner": inner.state}
        new |= {"others": {name: held.state for name, held in others.items()}} if others else {}
        return new | {"metrics": as_metrics(shown)}

    def held(self, state: Any, name: str = "") -> Held:
        """One of the children as the last step left it, where a `cond` may leave it so."""
        if not state["metrics"]:
            cure = "call oc.with_metrics(state, tx.init(params)) on a state that oc.without_metrics made"
            raise ValueError(f"{self.name}: the state has no metrics; {cure}")
        names = first_held(name, self.children()[name], None).metrics
        child = state["others"][name] if name else state["inner"]
        return Held(child, {key: x for key, x in state["metrics"].items() if key in names})

    def inner_step(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, Held]:
        """The updates of `inner` and what is held of it."""
        return stepped("", self.inner, updates, state["inner"], params, routed[""])

    def other_step(
        self, name: str, updates: Any, state: Any, params: Any, routed: dict[str, Given]
    ) -> tuple[Any, Held]:
        """The updates of one of the others and what is held of it."""
        return stepped(name, self.others()[name], updates, state["others"][name], params, routed[name])


def stepped(
    name: str, tx: Any, updates: Any, state: Any, params: Any, given: Given, how: Callable[..., Any] = step
) -> tuple[Any, Held]:
    """The updates of a child, or what else a way to step gives, and what is held of it."""
    new, state, computed = how(tx, updates, state, params, given)
    return new, Held(state, _prefixed(name, computed))


def first_held(name: str, tx: Any, state: Any) -> Held:
    """What is held of a child before the first step."""
    link = definition_of(tx)
    return Held(state, {} if link is None else _prefixed(name, link.metrics()))


def _prefixed(name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    return as_metrics({dotted(name, key): x for key, x in metrics.items()})
