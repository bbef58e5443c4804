"""Workers: devices along a mesh axis that step parameters of their own, and meet from time to time."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around
from optchain.core.definition import Result
from optchain.core.routing import Given
from optchain.core.spread import bound, copying, marked


class AmongWorkers(Around):
    """A transformation around `inner` that each device along the mesh axes `workers` steps on gradients of its own.

    What it keeps itself is the same at all of them; `inner` and the metrics are each worker's.
    """

    workers: tuple[str, ...]

    def start(self, params: Any) -> dict[str, Any]:
        with copying(self.workers):
            return self._apart(super().start(params))

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        if not bound(self.workers):
            axes, cure = " and ".join(map(repr, self.workers)), "step inside jax.shard_map, or jax.vmap with axis_name"
            raise ValueError(f"{self.name}: there are no workers along {axes} here; {cure}")
        with copying(self.workers):
            new, after, computed = super().step(updates, state, params, given)
        return new, self._apart(after), computed

    def mean(self, tree: Any) -> Any:
        """The mean over the workers."""
        return jax.lax.pmean(tree, self.workers) if self.workers else tree

    def _apart(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state, in which JAX takes all that is a worker's to differ between them, as loops need."""
        if not self.workers or not bound(self.workers):
            return state
        apart = {name: state[name] for name in ("inner", "metrics")}
        return state | jax.tree.map(lambda x: marked(jnp.asarray(x), {-1: self.workers}), apart)


def checked_axes(owner: str, axis: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of the mesh axes along which each device is a worker; none for one worker.

    Raises:
        ValueError: what is no name.
    """
    workers = () if axis is None else (axis,) if isinstance(axis, str) else tuple(axis)
    if not all(isinstance(name, str) for name in workers):
        raise ValueError(f"{owner}: axis must be the name of a mesh axis, or several, got {axis!r}")
    return workers
