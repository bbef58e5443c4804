"""What stands behind every transformation: the methods that a definition says, and what follows from them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from optchain.core.describe import table
from optchain.core.door import Door, like, rounded_sum, widened
from optchain.core.gather import on_their_mesh
from optchain.core.routing import Given, received
from optchain.core.shards import require_whole
from optchain.core.states import STRUCTURE
from optchain.core.transform import transform

Result = tuple[Any, Any, dict[str, Any]]  # updates or parameters, state, metrics that the state does not hold itself


class Definition:
    """A transformation as data. A subclass, a frozen dataclass, says `start` or `begin`, `step` and `children`.

    What enters these has passed the door: leaves are real arrays, gradients fit their parameters, and what is not ours
    to move is a hole, which is not a leaf.
    """

    name: str
    numbers: Mapping[str, Any] = {}  # those that `hyper` may override, as they were given
    mixes = False  # whether an entry of what it makes depends on other entries, or on where it stands among them

    def children(self) -> dict[str, Any]:
        """The transformations within this one by the prefix of their numbers' names; the prefix `""` adds none."""
        return {}

    def begin(self, params: Any) -> dict[str, Any]:
        """The arrays of its own, for parameters in float32 or wider."""
        return {}

    def start(self, params: Any) -> dict[str, Any]:
        """The state before the first update, for parameters in their own dtypes."""
        return {self.name: self.begin(widened(params))}

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        """One update in float32 or wider."""
        raise NotImplementedError

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One update in float32 or wider, for gradients and parameters in their own dtypes."""
        return self.step(widened(grads), state, widened(params), given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """The parameters after one step, rounded once to their own dtypes."""
        updates, state, metrics = self.propose(grads, state, params, given)
        return rounded_sum(params, updates), state, metrics

    def moving(self, params: Any) -> Any:
        """The parameters with holes for those that never move: what is around keeps nothing for them."""
        return params

    def takes(self) -> frozenset[str]:
        """What gradients may be besides arrays like the parameters: "rows" of tables, or those of "examples"."""
        return frozenset()

    def within(self, tree: Any) -> Any:
        """A tree like the parameters with holes for leaves that pass as they are."""
        return tree

    def metrics(self) -> dict[str, Any]:
        """The metrics before the first update; none where the state holds them."""
        return {}

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        """The updates in the dtypes that `update` hands them out in."""
        return like(new, grads)

    def init(self, params: Any) -> dict[str, Any]:
        return on_their_mesh(self.start, Door(self, params).params)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        self.require_state(state)
        door = Door(self, params, updates)
        require_whole(self, door.updates, door.params)
        new, state, _ = self.propose(door.updates, state, door.params, self._received(door, extra, state))
        return door.updates_out(new), state

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that rounds to the parameters' dtype once."""
        self.require_state(state)
        door = Door(self, params, grads)
        require_whole(self, door.updates, door.params)
        new, state, _ = self.advance(door.updates, state, door.params, self._received(door, extra, state))
        return door.params_out(new), state

    def _received(self, door: Door, extra: dict[str, Any], state: Any) -> Given:
        return received(self, door.extra(extra), state, door.unmovable)

    def require_state(self, state: Any) -> None:
        """A state is one of this definition, or an error says what it is."""
        if not isinstance(state, dict) or state.keys() - STRUCTURE != {self.name}:
            description = f"one with {', '.join(map(repr, state))}" if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"{self.name}: the state is {description or 'empty'}; create it with tx.init(params)")

    def require_params(self, params: Any) -> None:
        """Parameters are given, or an error says how."""
        if params is None:
            raise ValueError(f"{self.name} reads the parameters: call update(grads, state, params)")

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is found again.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))}

    def __str__(self) -> str:
        return table(transform(self))
