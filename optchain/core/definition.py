"""What stands behind every transformation: the methods that a definition says, and what follows from them."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import jax

from optchain.core.describe import table, written
from optchain.core.door import AXES, Door, like, rounded_sum, widened
from optchain.core.extras import require_taken
from optchain.core.gather import on_their_mesh
from optchain.core.made_by import Call
from optchain.core.misfit import another, described, require_shapes_of_init
from optchain.core.paths import names_of
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
    reads: tuple[str, ...] = ()  # names of the extra arguments that it reads
    gives: tuple[str, ...] = ()  # names of the extra arguments that it gives to what is within it
    made_by: Call | None = None  # the call of a technique that made it; none of what has been changed since
    mixes = False  # whether an entry of what it makes depends on other entries, or on where it stands among them
    collects: tuple[str, ...] = ()  # mesh axes along which the gradients that it receives differ, to be averaged by it
    on_shards = False  # whether one that mixes makes of shards, under `over_axes`, what it makes of whole arrays

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
        """What gradients may be but arrays like the parameters: "rows" of tables, or those of "examples", "tasks" or
        "clients"."""
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
        names_of(params)  # two leaves of one name are refused before anything is kept for them
        begin, inside = partial(on_their_mesh, self.start), Door(self, params, params).params
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(inside)):
            return jax.eval_shape(begin, inside)  # a slot may begin as a copy of its parameter: shapes make shapes
        return begin(inside)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        self.require_state(state)
        door = Door(self, params, updates)
        if self.mixes:
            require_whole(self, door.updates, door.params)
        try:
            given = received(self, door.extra(extra), state, door.unmovable)
            new, after, _ = self.propose(door.updates, state, door.params, given)
        except (TypeError, ValueError):
            if params is not None or not AXES & self.takes():  # else nothing has the parameters' shapes
                require_shapes_of_init(self, state, updates if params is None else params)
            raise
        return door.updates_out(new), after

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that rounds to the parameters' dtype once."""
        self.require_state(state)
        door = Door(self, params, grads)
        if self.mixes:
            require_whole(self, door.updates, door.params)
        if extra:
            require_taken(self, extra)
        given = received(self, door.extra(extra), state, door.unmovable)
        try:
            new, after, _ = self.advance(door.updates, state, door.params, given)
        except (TypeError, ValueError):
            require_shapes_of_init(self, state, params)
            raise
        return door.params_out(new), after

    def require_state(self, state: Any) -> None:
        """A state is one of this definition, or an error says what it is."""
        if not isinstance(state, dict) or state.keys() - STRUCTURE != {self.name}:
            raise another(self.name, described(state), f"one with {self.name!r}")

    def require_params(self, params: Any) -> None:
        """Parameters are given, or an error says how."""
        if params is None:
            raise ValueError(f"{self.name} reads the parameters: call update(grads, state, params)")

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is found again.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))}

    def __init_subclass__(cls) -> None:
        # Otherwise `dataclass` writes one that shows the addresses of functions.
        cls.__repr__ = Definition.__repr__

    def __repr__(self) -> str:
        return written(self)

    def __str__(self) -> str:
        return table(transform(self))
