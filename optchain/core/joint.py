"""The runner of rules that look across leaves: their law sees the whole tree at once."""

from typing import Any

import jax

from optchain.core.runner import Result, Runner


class Joint(Runner):
    """Runs a rule on the whole tree.

    The rule's `init(params)` returns a NamedTuple of trees or scalars, or `()`; its `update(g, s, p, t)` returns the
    updates, the slots, and a dict with the scalars that its class names in `metrics`.
    """

    def start(self, rule: Any, params: Any) -> dict[str, Any]:
        slots = rule.init(params)
        return slots._asdict() if slots else {}

    def run(self, rule: Any, updates: Any, slots: dict[str, Any], params: Any, t: jax.Array) -> Result:
        s = type(jax.eval_shape(rule.init, updates))(**slots) if slots else ()
        new, s, computed = rule.update(updates, s, params, t)
        return new, s._asdict() if slots else {}, computed
