"""Metrics: read from a state by dotted name, left out of checkpoints."""

from typing import Any

import jax


def metrics(state: Any) -> dict[str, jax.Array]:
    """The metrics in an optimizer state, by dotted name.

    `step` counts the updates of a chain; `<link>.<number>` is the value that the last update used; links and wrappers
    add what they compute anyway (`clip.norm`, `accumulate.dropped`). Chains inside optax's wrappers are found too:
    where a state holds several chains side by side, their names begin with the keys that lead to them.

    Args:
        state: what `init` or `update` of a chain, or of a wrapper around chains, returned; nnx and linen states too.

    Raises:
        ValueError: the state holds no chain.
    """
    owners = [(path, x) for path, x in jax.tree.leaves_with_path(state, is_leaf=has_metrics) if has_metrics(x)]
    if not owners:
        raise ValueError("the state holds no chain and so no metrics; build the optimizer with optchain.chain")
    found = {}
    for path, own in owners:
        keys = [getattr(key, "key", getattr(key, "idx", None)) for key in path] if len(owners) > 1 else []
        prefix = "".join(f"{key}." for key in keys if key is not None)
        added = {f"{prefix}{name}": x for name, x in _owned(own).items()}
        if added.keys() & found.keys():
            raise ValueError("chains side by side in the state have no keys to tell them apart; read them one by one")
        found |= added
    return found


def has_links(x: Any) -> bool:
    """Whether this is the state of a chain."""
    return _holds(x, "links", "metrics") and set(x) == {"step", "links", "metrics"}


def has_metrics(x: Any) -> bool:
    """Whether this is the state of a chain, or of a wrapper of ours."""
    # What is wrapped may keep a tuple, as optax's do, but no bare array, as a parameter of this name would be.
    return has_links(x) or (_holds(x, "metrics") and "inner" in x and not hasattr(x["inner"], "shape"))


def names_within(state: Any) -> set[str]:
    """The metrics of the chains in the state of a wrapper of optax's, each by the name within its own chain."""
    owners = [x for x in jax.tree.leaves(state, is_leaf=has_metrics) if has_metrics(x)]
    return {name for own in owners for name in metrics(own)}


def without_metrics(state: Any) -> Any:
    """The state to checkpoint: metrics are left out, for what is watched may change before it is restored."""

    def strip(own: Any) -> Any:
        if not has_metrics(own):
            return own
        return {name: {} if name == "metrics" else without_metrics(x) for name, x in own.items()}

    return jax.tree.map(strip, state, is_leaf=has_metrics)


def with_metrics(state: Any, fresh: Any) -> Any:
    """A restored state with the metrics of a fresh one, ready for `update`.

    Args:
        state: what `without_metrics` made of the state of the same transformation.
        fresh: `tx.init(params)`.
    """

    def merge(own: Any, new: Any) -> Any:
        if not has_metrics(own):
            return own
        return {name: new[name] if name == "metrics" else with_metrics(x, new[name]) for name, x in own.items()}

    return jax.tree.map(merge, state, fresh, is_leaf=has_metrics)


def _owned(own: dict[str, Any]) -> dict[str, jax.Array]:
    """The metrics of a chain or wrapper, and of what stands within."""
    found = ({"step": own["step"]} if "links" in own else {}) | own["metrics"]
    for name, link in {**own.get("links", {}), **own.get("others", {})}.items():
        if _holds_metrics(link):
            found |= {f"{name}.{key}": x for key, x in metrics(link).items()}
    if "inner" in own and _holds_metrics(own["inner"]):
        found |= metrics(own["inner"])
    return found


def _holds_metrics(state: Any) -> bool:
    return any(map(has_metrics, jax.tree.leaves(state, is_leaf=has_metrics)))


def _holds(x: Any, *names: str) -> bool:
    # Parameters may have these names too, but not with tables in them.
    return isinstance(x, dict) and all(isinstance(x.get(name), dict) for name in names)
