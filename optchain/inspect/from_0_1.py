"""States of version 0.1, which do not say what they are, in the layout of today.

There the arrays of a technique stood where today its name does, and those of a wrapper beside `inner`. The names come
from the new transformation, whose links continue the old ones, and those of wrappers from what each kept.
"""

from typing import Any

from optchain.inspect.entries import Entry, joined, prefix_of
from optchain.inspect.kinds import FOREIGN, is_chain, is_technique, is_wrapper, within
from optchain.inspect.optax_states import is_of_optax
from optchain.inspect.pairing import Renames, target

# What each wrapper of version 0.1 kept itself, at least.
WRAPPERS = {
    "accumulate": {"dropped", "emitted", "mean", "micro", "weight"},
    "asam": {"count"},
    "catch_up": {"count", "last"},
    "ema_nesterov": {"beta", "count", "mu"},
    "gsam": {"count"},
    "guard": {"accepted", "last_norm", "norm", "reason", "rejected", "streak", "value"},
    "hypergradient": {"last", "rate"},
    "lookahead": {"count", "slow"},
    "looksam": {"count", "flat"},
    "mechanize": {"largest", "moved", "reward", "root", "scale"},
    "outer_nesterov": {"count", "outer"},
    "precision": {"count", "lost"},
    "sam": {"count"},
    "schedule_free": {"b1", "count", "weight_sum", "z"},
    "sparse": {"changed", "count", "sparsity"},
}
# Slots by technique that have another name today.
RENAMED = {
    "clip_by_zscore": {"seen": "norms"},
    "scale_by_adahessian": {"seen": "weight"},
}
# Techniques that keep a state of optax's, today under a name of its own.
BORROWED = ("scale_by_lbfgs", "scale_by_zoom_linesearch")


def from_0_1(node: Any, after: dict[str, Entry], renames: Renames, path: str = "") -> Any:
    """A state in nested tables in the layout of today; one that has it already is left as it is.

    Args:
        node: what `nested` makes of a state.
        after: the entries of the state that is to continue it.
        renames: from old to new names of links.
        path: the dotted name of what keeps this.
    """

    def of(child: Any, *names: str) -> Any:
        return from_0_1(child, after, renames, joined(path, *names))

    if is_chain(node):
        return node | {"links": {name: of(link, name) for name, link in node.get("links", {}).items()}}
    wrapped = _wrapped(node, after)
    if is_wrapper(wrapped):
        inner = {"inner": of(wrapped["inner"])} if "inner" in wrapped else {}
        return wrapped | inner | {"others": {name: of(x, name) for name, x in wrapped.get("others", {}).items()}}
    to = target(path, renames)
    entry = None if to is None else after.get(to)
    technique = None if entry is None else entry.technique
    if entry is not None and technique is not None and _is_bare(technique, node):
        slots, heads = _renamed(technique, node), {keys[0] for keys in entry.slots if keys}
        if slots.keys() & heads:
            return {technique: slots}
    states = within(node)
    for keys, state in states:
        node = _replaced(node, keys, of(state, prefix_of(keys, states)))
    return node


def _is_bare(technique: str, node: Any) -> bool:
    """Whether these may be the slots of a technique without its name."""
    return isinstance(node, dict) and not is_technique(node) and not is_of_optax(technique, node)


def _wrapped(node: Any, after: dict[str, Entry]) -> Any:
    """What a wrapper of version 0.1 kept, with its own arrays under its name; anything else as it is."""
    if not isinstance(node, dict) or not node.keys() & {"inner", "others"}:
        return node
    rest = {name: x for name, x in node.items() if name in ("inner", "others")}
    own = {name: x for name, x in node.items() if name not in ("inner", "others", "metrics")}
    # Several keep no more than a count: rather one that continues.
    alike = [entry.technique for entry in after.values() if {"".join(keys[:1]) for keys in entry.slots} == own.keys()]
    fitting = sorted((kind for kind in WRAPPERS if WRAPPERS[kind] <= own.keys()), key=lambda kind: -len(WRAPPERS[kind]))
    kinds = [kind for kind in alike if kind in fitting] or fitting
    return {kinds[0]: own} | rest if kinds else node


def _renamed(technique: str, slots: dict[str, Any]) -> dict[str, Any]:
    """The slots of a technique by the names of today."""
    if technique in BORROWED:
        return {FOREIGN: slots}
    names = RENAMED.get(technique, {})
    return {names.get(name, name): x for name, x in slots.items()}


def _replaced(node: dict[str, Any], keys: tuple[str, ...], new: Any) -> Any:
    """The tables with another one where the keys lead."""
    return node | {keys[0]: _replaced(node[keys[0]], keys[1:], new)} if keys else new
