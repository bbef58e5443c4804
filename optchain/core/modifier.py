"""Wrappers that step every time and change the updates that come of it."""

import dataclasses
from typing import Any

import jax

from optchain.core.runner import Result
from optchain.core.transform import Transform, add_update, names, ours, step, widened
from optchain.core.wrapper import Wrapper


@dataclasses.dataclass(frozen=True)
class Modifier(Wrapper):
    """A transformation around `inner`; subclasses say in `modify` what they make of its updates.

    State: that of a wrapper, and `"others"` where there are more transformations than `inner`.
    """

    needs_params = False

    def __post_init__(self) -> None:
        taken = {name.partition(".")[0] for name in names(self.inner)}
        for name in taken & set(self.others):
            raise ValueError(f"{self.name}: a link of tx is called {name!r}, as what the wrapper adds; rename the link")

    @property
    def others(self) -> dict[str, Transform]:
        """The other transformations by name."""
        return {}

    def start(self, params: Any) -> dict[str, Any]:
        return {}

    def modify(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The new updates and the new state; all that comes in and goes out is float32 or wider."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """The numbers of what is wrapped by their own names, those of the others by dotted names."""
        return names(self.inner) + [f"{name}.{number}" for name, tx in self.others.items() for number in names(tx)]

    def init(self, params: Any) -> dict[str, Any]:
        others = {name: tx.init(params if ours(tx) else widened(params)) for name, tx in self.others.items()}
        return super().init(params) | ({"others": others} if others else {})

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update that stays in float32 or wider."""
        if params is None and self.needs_params:
            raise ValueError(f"{self.name} reads the parameters: call update(grads, state, params)")
        new, state = self.modify(widened(updates), state, None if params is None else widened(params), extra)
        return new, self._with_metrics(state), {}

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that rounds to the parameters' dtype once."""
        new, state, _ = self.step(grads, state, params, extra)
        return jax.tree.map(add_update, params, new), state

    def run_one(self, name: str, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """The updates and the state of `inner` or of one of the others, with the overrides that are its own."""
        tx = self.inner if name == "inner" else self.others[name]
        own = {key: x for key, x in extra.items() if key != "hyper"}
        hyper = {}
        for dotted, value in (extra.get("hyper") or {}).items():
            head, _, rest = dotted.removeprefix("?").partition(".")
            if head == name:
                hyper["?" + rest if dotted.startswith("?") else rest] = value
            elif name == "inner" and head not in self.others:
                hyper[dotted] = value
        before = state["inner"] if name == "inner" else state["others"][name]
        return step(tx, updates, before, params, own | ({"hyper": hyper} if hyper else {}))[:2]


def at(number: Any, step: jax.Array) -> Any:
    """A number of a wrapper at one step, where it may be a schedule."""
    return number(step) if callable(number) else number
