"""The law of one leaf: a rule with its numbers, its count and what its means have seen, in the dtype of the leaf."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import in_dtype
from optchain.core.runner import Now

# From the update, the slots, the parameter and the extra arguments of one leaf to its new update and slots. What
# surrounds a law is a decorator: layers, a view and gathering (`form.py`), an execution's own (`Given.around`).
Law = Callable[[Any, Any, Any, dict[str, Any]], tuple[Any, Any]]


def plain(rule: Any, dtype: Any, now: Now) -> Law:
    """The law of a rule as it is; the same for all leaves of one dtype."""
    t, seen, scalars = now.t, now.seen, now.scalars
    if dtype != jnp.float32 or (seen and {x.dtype for x in seen.values()} != {dtype}):
        rule = in_dtype(rule, dtype)
        t, seen = jax.tree.map(lambda x: x.astype(dtype), (t, seen))
    if seen:
        scalars = {**scalars, "seen": SimpleNamespace(**seen)}

    def law(g: Any, s: Any, p: Any, extras: dict[str, Any]) -> tuple[Any, Any]:
        return rule.update(g, s, p, t, **extras, **scalars)

    return law
