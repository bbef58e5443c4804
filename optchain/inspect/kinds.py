"""Whose state a table holds: a chain, a wrapper, a technique, or optax with states of ours within."""

import functools
import re
from typing import Any

import numpy as np

from optchain.core.registry import TECHNIQUE, registered
from optchain.core.states import STRUCTURE
from optchain.core.transform import definition_of
from optchain.inspect.nested import Keys
from optchain.inspect.optax_states import CONTAINERS

# The name of what optax keeps: in a container within which states of ours stand, or borrowed by a technique of ours.
FOREIGN = "optax"


def is_chain(node: Any) -> bool:
    """Whether this is what a chain keeps."""
    return isinstance(node, dict) and node.keys() <= {"step", "links", "metrics"} and _is_number(node.get("step"))


def is_technique(node: Any) -> bool:
    """Whether this is what one technique keeps under its name."""
    pair = _under_one_name(node)
    if pair is None:
        return False
    name, table = pair
    # A rule always counts; what is written by hand need not, and one borrowed from optax keeps the state of that.
    return _is_number(table.get("count")) or table.keys() == {FOREIGN} or _is_by_hand(name)


def is_wrapper(node: Any) -> bool:
    """Whether this is what a wrapper keeps, together with what stands within."""
    if not isinstance(node, dict):
        return False
    own = {name: x for name, x in node.items() if name not in ("inner", "others", "metrics")}
    if len(own) > 1 or not all(isinstance(x, dict) for x in own.values()):
        return False
    return len(own) < len(node) or any(_wraps(name) for name in own)


def within(node: Any, keys: Keys = ()) -> list[tuple[Keys, Any]]:
    """The states of ours within a container of optax, each with the keys that lead to it."""
    if not isinstance(node, dict):
        return []
    if keys and _is_surely_ours(node):
        return [(keys, node)]
    return [pair for key, x in node.items() for pair in within(x, (*keys, key))]


def _is_surely_ours(node: dict[str, Any]) -> bool:
    """Whether this is a state of ours, where parameters and the fields of optax's states have names too."""
    if is_chain(node):
        return "links" in node
    names = [name for name in node if name not in STRUCTURE]
    if names:
        return names[0] in registered() and (is_technique(node) or is_wrapper(node))
    return is_wrapper(node) and _is_surely_ours(node.get("inner", {}))


def _under_one_name(node: Any) -> tuple[str, dict[str, Any]] | None:
    """The name and the table of what is kept under one name of a technique."""
    if not isinstance(node, dict) or len(node) != 1:
        return None
    ((name, own),) = node.items()
    is_name = re.fullmatch("[a-z][a-z0-9_]*", name) and name not in STRUCTURE and name not in CONTAINERS
    return (name, own) if is_name and isinstance(own, dict) else None


@functools.cache
def _wraps(name: str) -> bool:
    """Whether this technique is a wrapper, for one around what holds nothing."""
    if not _is_by_hand(name):
        return False
    link = definition_of(registered()[name].make(**registered()[name].example))
    return link is not None and "" in link.children() and link.name == name


def _is_by_hand(name: str) -> bool:
    """Whether this is a technique without a rule."""
    entry = registered().get(name)
    return entry is not None and entry.kind == TECHNIQUE and entry.rule is None


def _is_number(x: Any) -> bool:
    return x is not None and not isinstance(x, dict) and np.ndim(x) == 0
