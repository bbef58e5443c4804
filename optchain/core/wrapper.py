"""What every wrapper shares: a transformation around any other, which decides when and on what it steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.describe import table
from optchain.core.row_gradient import require_taken
from optchain.core.runner import Result, like
from optchain.core.transform import advance, names, ours, step, widened

# What the wrapped transformation does with updates and its state: new updates, or new parameters, and a new state.
Take = Callable[[Any, Any, dict[str, Any]], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """A transformation around `inner`; subclasses decide in `run` whether it steps, and on which updates.

    State: a dict with the wrapper's own arrays, `"inner"` and `"metrics"`.
    """

    inner: Any

    @property
    def name(self) -> str:
        """The technique's name, which metrics begin with."""
        return type(self).__name__.lower()

    def start(self, params: Any) -> dict[str, Any]:
        """The wrapper's own arrays, for parameters in float32 or wider."""
        raise NotImplementedError

    def run(self, updates: Any, state: Any, extra: dict[str, Any], nothing: Any, take: Take) -> tuple[Any, Any]:
        """What comes of the updates, and the new state: `nothing` where the wrapped transformation does not step."""
        raise NotImplementedError

    def metrics(self) -> dict[str, jax.Array]:
        """A wrapper keeps its metrics in its own state."""
        return {}

    def shown(self, state: dict[str, Any]) -> dict[str, jax.Array]:
        """The metrics of a state, from its own arrays; none unless a subclass says more."""
        return {}

    def __str__(self) -> str:
        return table(self)

    def names(self) -> list[str]:
        """The numbers of what is wrapped, by their own names."""
        return names(self.inner)

    def init(self, params: Any) -> dict[str, Any]:
        inner = self.inner.init(params if ours(self.inner) else widened(params))
        return self._with_metrics(self.start(widened(params)) | {"inner": inner})

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        require_taken(self, updates)
        new, state, _ = self.step(updates, state, params, extra)
        return like(new, updates), state

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update that stays in float32 or wider: zeros where the wrapped transformation does not step."""

        def take(updates: Any, inner: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
            return step(self.inner, updates, inner, params, extra)[:2]

        nothing = jax.tree.map(jnp.zeros_like, widened(updates))
        new, state = self.run(updates, state, extra, nothing, take)
        return new, self._with_metrics(state), {}

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step in which one `cond` surrounds the parameters too: where nothing is to be done nothing is copied."""

        def take(updates: Any, inner: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
            return advance(self.inner, updates, inner, params, extra)

        params, state = self.run(grads, state, extra, params, take)
        return params, self._with_metrics(state)

    def _with_metrics(self, state: dict[str, Any]) -> dict[str, Any]:
        shown = {f"{self.name}.{key}": jnp.asarray(x, jnp.float32) for key, x in self.shown(state).items()}
        return {name: x for name, x in state.items() if name != "metrics"} | {"metrics": shown}
