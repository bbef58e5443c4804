"""Wrappers that step every time and change what comes of it."""

import dataclasses
from typing import Any

from optchain.core.definition import Definition, Result
from optchain.core.door import widened
from optchain.core.misfit import require_same_shapes
from optchain.core.routing import Given
from optchain.core.states import as_metrics
from optchain.core.transform import moving, ours, start, step, takes
from optchain.core.walk import numbers_of


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
        return takes(self.inner) & {"examples"}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        """The new updates, and the new state without metrics; `routed` is what each child receives by its prefix."""
        raise NotImplementedError

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        """The metrics of the wrapper's own arrays."""
        return {}

    def start(self, params: Any) -> dict[str, Any]:
        others = {name: start(tx, params) for name, tx in self.others().items()}
        state = {self.name: self.begin(widened(params)), "inner": start(self.inner, params)}
        return self.with_shown(state | ({"others": others} if others else {}))

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
        """A state with the metrics of the wrapper's own arrays."""
        shown = {f"{self.name}.{key}": x for key, x in self.shown(state[self.name]).items()}
        return {key: x for key, x in state.items() if key != "metrics"} | {"metrics": as_metrics(shown)}

    def inner_step(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, Any]:
        """The updates of `inner` and its new state."""
        return step(self.inner, updates, state["inner"], params, routed[""])[:2]

    def other_step(self, name: str, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, Any]:
        """The updates of one of the others and its new state."""
        return step(self.others()[name], updates, state["others"][name], params, routed[name])[:2]
