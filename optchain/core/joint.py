"""The runner of rules that look across leaves: their law sees the whole tree at once.

Leaves may have learning rates of their own where the rule says so (`rate_power`), under one estimate of the rest. A
leaf whose rate is the part f of the largest is then one whose parameters are measured in units of f (or of its root,
where the step is in proportion to the gradient): its gradient is multiplied by the unit, and so is its update. A leaf
of rate 0 does not take part in the estimate.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.door import like
from optchain.core.factors import common, units
from optchain.core.misfit import require_same_shapes
from optchain.core.paths import names_of
from optchain.core.runner import Now, Runner
from optchain.core.trees import widest


@dataclasses.dataclass(frozen=True)
class Joint(Runner):
    """Runs a rule on the whole tree, all of it in float32, or in float64 where a leaf is.

    The rule's `init(params)` returns a NamedTuple of trees or scalars, or `()`; its `update(g, s, p, t)` returns the
    updates, the slots, and a dict with the scalars that its class names in `metrics`.
    """

    mixes = True

    @property
    def on_shards(self) -> bool:
        return self.rule.on_shards

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        slots = rule.init(params)
        return slots._asdict() if slots else {}

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        if not now.given.factors:
            return self._run(rule, updates, slots, params, now)
        paths = names_of(updates)
        scales, factors = units(rule, now.given.factors, paths)
        rule = common(self.name, rule, factors, paths)
        if scales is None:
            return self._run(rule, updates, slots, params, now)
        new, slots, computed = self._run(rule, _times(scales, updates), slots, params, now)
        return _times(scales, new), slots, computed

    def _run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        old = self._slots(rule, updates, slots)
        received = (rule, updates, old, params, now.t, {**now.trees, **now.scalars}, now.seen)
        if any(x.dtype != jnp.float32 for x in jax.tree.leaves(updates)):
            # One dtype for everything, so that a law may add sums over the tree to any leaf of it.
            received = _cast(received, widest(updates))
        rule, g, old, p, t, extras, seen = received
        extras = {**extras, "seen": SimpleNamespace(**seen)} if seen else extras
        new, s, computed = rule.update(g, old, p, t, **extras)
        if not slots:
            return like(new, updates), {}, computed
        s = s._asdict()
        require_same_shapes(slots, s)
        return like(new, updates), like(s, slots), computed

    def _slots(self, rule: Any, updates: Any, slots: dict[str, Any]) -> Any:
        """The slots as the rule's own NamedTuple."""
        if not slots:
            return ()
        Slots = type(jax.eval_shape(rule.init, updates))
        return Slots(**slots)


def _times(scales: list[Any], tree: Any) -> Any:
    """Each leaf times its own scalar."""
    leaves, treedef = jax.tree.flatten(tree)
    pairs = zip(scales, leaves, strict=True)
    return treedef.unflatten([x * (scale if isinstance(scale, float) else scale.astype(x.dtype)) for scale, x in pairs])


def _cast(tree: Any, dtype: Any) -> Any:
    """The floating arrays in one dtype; constants stay Python numbers."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(cast, tree)
