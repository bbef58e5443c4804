"""Lookahead: slow weights that follow the fast ones."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around, Held
from optchain.core.branch import cond
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, checked, whole
from optchain.core.routing import Given
from optchain.core.transform import Transform, start, transform
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Lookahead(Around):
    """Steps fast weights by `inner`; every few steps `outer` steps the slow ones, and the fast ones go back to them.

    State under its name: `count`, fast steps since the slow one; `slow`, the slow weights, a tree like the parameters.
    """

    every: int
    outer: Any
    restarts: bool = False

    name = "lookahead"
    slot = "slow"
    needs_params = True

    def others(self) -> dict[str, Any]:
        return {self.slot: self.outer}

    def begin(self, params: Any) -> dict[str, Any]:
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return {"count": jnp.zeros((), jnp.int32), self.slot: jax.tree.map(jnp.copy, params)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"count": own["count"]}

    def way(self, slow: Any, fast: Any) -> Any:
        """The way back from the fast weights, which the slow step takes for a gradient."""
        return jax.tree.map(jnp.subtract, slow, fast)

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        new, inner = self.inner_step(updates, state, params, routed)
        own = state[self.name]
        count = own["count"] + 1
        # The slow step counts its own steps.
        routed = routed | {self.slot: routed[self.slot].at(None)}

        def synchronized(slow: Any, other: Held, inner: Any) -> Any:
            fast = jax.tree.map(jnp.add, params, new)
            way = self.way(slow, fast)
            moved, other = self.other_step(self.slot, way, {"others": {self.slot: other.state}}, slow, routed)
            slow = jax.tree.map(jnp.add, slow, moved)
            if self.restarts:
                fresh = start(self.inner, slow)
                inner = inner._replace(state=jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), fresh, inner.state))
            return jax.tree.map(jnp.subtract, slow, params), slow, other, inner

        due = count >= self.every
        # What no branch changes does not pass through the `cond`.
        kept = inner if self.restarts else None
        moved, slow, other, kept = cond(
            due,
            synchronized,
            lambda slow, other, inner: (new, slow, other, inner),
            own[self.slot],
            self.held(state, self.slot),
            kept,
        )
        inner = kept if self.restarts else inner
        after = {"count": jnp.where(due, 0, count), self.slot: slow}
        return moved, {self.name: after, "inner": inner, "others": {self.slot: other}}


@technique(tx=scale(-0.1), sync_period=2, slow_step_size=0.5)
def lookahead(
    tx: optax.GradientTransformation, sync_period: int, slow_step_size: Number, reset_state: bool = False
) -> Transform:
    r"""Lets a transformation run for some steps and then takes back a part of the way.

    .. math::
        \theta \leftarrow \theta + \mathrm{tx}(g), \qquad
        \phi \leftarrow \phi + \alpha (\theta - \phi), \; \theta \leftarrow \phi \quad\text{every } k \text{ steps}

    The parameters are the fast weights :math:`\theta`, an ordinary tree; `averaged_params(state)` gives the slow ones
    :math:`\phi`, which are to be evaluated. A slow step does not change the state of `tx` without `reset_state`.

    Args:
        tx: any transformation, with its learning rate.
        sync_period: k, fast steps for each slow one, at least 1.
        slow_step_size: :math:`\alpha`, in [0, 1], or a schedule of the slow steps; the number `slow.learning_rate`.
        reset_state: start `tx` again after each slow step, with all that it keeps.

    Metrics: `lookahead.count`, fast steps since the last slow one.

    Shapes and dtypes: any; the slot `slow` is like the parameter and begins as its copy, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Zhang et al., 2019, Algorithm 1. https://arxiv.org/abs/1907.08610

    >>> import optchain as oc
    >>> tx = oc.lookahead(oc.adamw(1e-3), sync_period=5, slow_step_size=0.5)
    """
    whole("lookahead", "sync_period", sync_period, 1)
    size = checked("lookahead", "slow_step_size", slow_step_size, Range("[0, 1]"))
    return transform(Lookahead(tx, sync_period, scale_by_learning_rate(size), reset_state))
