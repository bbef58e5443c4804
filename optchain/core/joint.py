"""The runner of rules that look across leaves: their law sees the whole tree at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.paths import path_of
from optchain.core.runner import Factors, Result, Runner, Told, like
from optchain.core.trees import widest


class Joint(Runner):
    """Runs a rule on the whole tree, all of it in float32, or in float64 where a leaf is.

    The rule's `init(params)` returns a NamedTuple of trees or scalars, or `()`; its `update(g, s, p, t)` returns the
    updates, the slots, and a dict with the scalars that its class names in `metrics`. A rule whose update of an entry
    does not depend on how many zeros stand elsewhere says so by `ignores_zeros = True`.
    """

    def start(self, rule: Any, params: Any) -> dict[str, Any]:
        slots = rule.init(params)
        return slots._asdict() if slots else {}

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, t: jax.Array, told: Told) -> Result:
        rule, dtype = self._multiplied(rule, told.factors, updates), widest(updates)
        Slots = type(jax.eval_shape(rule.init, updates))
        # One dtype for everything, so that a law may add sums over the tree to any leaf of it.
        rule, g, old, p, t, extras = _cast((rule, updates, slots, params, t, told.trees | told.scalars), dtype)
        new, s, computed = rule.update(g, Slots(**old) if old else (), p, t, **extras)
        return like(new, updates), like(s._asdict(), slots) if old else {}, computed

    def _multiplied(self, rule: Any, factors: Factors, updates: Any) -> Any:
        """The rule with its numbers multiplied by the factor that all leaves have."""
        paths = [path_of(path) for path, _ in jax.tree.leaves_with_path(updates)]
        for name, by_path in factors.items():
            found = {path: by_path.get(path, 1.0) for path in paths}
            # An array has no hash: it is the same factor where it is the same object.
            distinct = {x if isinstance(x, float) else id(x): path for path, x in found.items()}
            if len(distinct) > 1:
                one, other, *_ = distinct.values()
                problem = f"{name!r} is one number for all leaves, but {one!r} and {other!r} have different factors"
                raise ValueError(f"{self.name}: {problem}")
            for factor in list(found.values())[:1]:
                rule = dataclasses.replace(rule, **{name: getattr(rule, name) * factor})
        return rule


def _cast(tree: Any, dtype: Any) -> Any:
    """The floating arrays in one dtype; constants stay Python numbers."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(cast, tree)
