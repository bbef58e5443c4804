"""Wrappers that may not step: one `cond` around the inner step, and around the parameters where they are at hand."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around, Held, stepped
from optchain.core.definition import Result
from optchain.core.misfit import require_same_shapes
from optchain.core.numerics import wide
from optchain.core.routing import Given
from optchain.core.row_gradient import is_row_gradient
from optchain.core.transform import advance, propose, step, takes

# What becomes of gradients and of what is held of `inner` in a step: new updates, or new parameters, and what is held.
Take = Callable[[Any, Any, Given], tuple[Any, Any]]
Routed = dict[str, Given]  # what each child receives by its prefix


@dataclasses.dataclass(frozen=True)
class Gate(Around):
    """A transformation around `inner`; subclasses decide in `run` whether it steps, and on which gradients.

    Nothing is widened on the way to `inner`, because what stands before a `cond` is stored.
    """

    def takes(self) -> frozenset[str]:
        return takes(self.inner)

    def run(self, grads: Any, state: Any, params: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        """What comes of the gradients, and the new state: `nothing` where `inner` does not step.

        In the old state and the new one each child stands as it is held: see `Held`.
        """
        raise NotImplementedError

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(step, updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(propose, grads, state, params, given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._run(advance, grads, state, params, given, params)

    def _run(self, how: Any, grads: Any, state: Any, params: Any, given: Given, nothing: Any = None) -> Result:
        self.require_state(state)
        if self.needs_params:
            self.require_params(params)

        def take(grads: Any, inner: Held, given: Given) -> tuple[Any, Held]:
            return stepped("", self.inner, grads, inner.state, params, given, how)

        held = state | {"inner": self.held(state)}
        if others := self.others():
            held["others"] = {name: self.held(state, name) for name in others}
        nothing = _no_update(grads, params) if nothing is None else nothing
        new, after = self.run(grads, held, params, given.split(self.children()), nothing, take)
        require_same_shapes(state[self.name], after[self.name])
        return new, self.with_shown(after), {}


def _no_update(grads: Any, params: Any) -> Any:
    """The update of no step: like the parameters where they are known, for gradients of examples have one axis more."""

    def zeros(g: Any, p: Any) -> Any:
        if is_row_gradient(g):
            return dataclasses.replace(g, values=jnp.zeros_like(wide(g.values)))
        return jnp.zeros_like(wide(p))

    return jax.tree.map(zeros, grads, grads if params is None else params, is_leaf=is_row_gradient)
