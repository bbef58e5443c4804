"""Parts of a state set back to their beginning."""

from collections.abc import Sequence
from typing import Any

import jax

from optchain.core.paths import matches, names_of, nearest
from optchain.inspect.entries import entries
from optchain.inspect.nested import Keys, keys_of

Patterns = str | Sequence[str]


def reset_state(state: Any, tx: Any, params: Any, links: Patterns | None = None, leaves: Patterns | None = None) -> Any:
    r"""Set links, or the slots of some parameters, back to what `tx.init(params)` makes them; all else stays.

    Where both are given, only the slots that these links hold for these parameters are reset.

    Args:
        state: the state of `tx`.
        tx: any transformation.
        params: the parameters now.
        links: dotted names of links (`"adam"`, `"inner.adam"`) or patterns of them (`"*.adam"`): all they hold and
            count; the name of a chain stands for all that is in it. `"(guard)"` is what a guard keeps itself.
        leaves: patterns on the paths of parameters (`"head/*"`): their slots. The link's count is that of all of its
            parameters and stays, and so does the weight that its means have seen, so that nothing corrects the bias of
            these slots. With Adam and a gradient that stays as it is, the update k steps later is
            :math:`(1 - b_1^k) / \sqrt{1 - b_2^k}` times a normal one: for the usual numbers 3.2 times at the first
            step, 6.5 at the tenth, 5.9 at the 25th, 3.2 at the 100th, 1.3 at the 1000th. Where the gradients are
            noise alone it is 13 times at the first step, 9.4 at the tenth, and the same from the 50th on.

    Shapes and dtypes: those of `state`.

    Raises:
        ValueError: neither of the two, patterns that match nothing, alone or together, or the state of another chain.

    >>> import optchain as oc
    >>> import jax.numpy as jnp
    >>> params, tx = {"head": jnp.ones(3), "body": jnp.ones(3)}, oc.adam(1e-3)
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> state = oc.reset_state(state, tx, params, links="adam", leaves="head")
    >>> mu = state["links"]["adam"]["scale_by_adam"]["mu"]
    >>> print(mu["head"], float(mu["body"][0]) > 0)
    [0. 0. 0.] True
    """
    if links is None and leaves is None:
        raise ValueError("reset_state: expected links, leaves or both to be reset")
    fresh, treedef = jax.tree.flatten_with_path(tx.init(params))
    now, structure = jax.tree.flatten(state)
    if structure != treedef:
        raise ValueError("reset_state: the state is not that of tx; migrate_state makes it so")
    keys = [keys_of(path) for path, _ in fresh]
    held = entries(treedef.unflatten(range(len(keys)))).values()
    owners = {i: entry.name for entry in held for i in entry.slots.values()}
    counts = {i for entry in held for slot, i in entry.slots.items() if slot[:1] in (("count",), ("seen",))}
    keypaths = [path for path, _ in jax.tree.leaves_with_path(params)]
    names = dict(zip(map(keys_of, keypaths), names_of(params), strict=True))
    chosen = set(owners) if links is None else _chosen("link", links, owners)
    if leaves is not None:
        chosen &= _chosen("parameter with slots", leaves, _parameters(keys, set(owners) - counts, names))
    if not chosen:
        raise ValueError(f"reset_state: the links {links!r} hold no slots of {leaves!r}")
    return treedef.unflatten([fresh[i][1] if i in chosen else x for i, x in enumerate(now)])


def _parameters(keys: list[Keys], slots: set[int], names: dict[Keys, str]) -> dict[int, str]:
    """The path of the parameter that each slot belongs to: the longest end of its own path that is one."""
    ends = {i: [keys[i][n:] for n in range(1, len(keys[i]) + 1)] for i in slots}
    longest = {i: next((end for end in tails if end in names), None) for i, tails in ends.items()}
    return {i: names[end] for i, end in longest.items() if end is not None}


def _chosen(what: str, patterns: Patterns, names: dict[int, str]) -> set[int]:
    """The arrays whose name fits one of the patterns, or begins with one as with the name of a chain."""
    chosen = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        hits = {i for i, name in names.items() if matches(name, pattern) or name.startswith(f"{pattern}.")}
        if not hits:
            raise ValueError(f"reset_state: there is no {what} {pattern!r}; {nearest(pattern, set(names.values()))}")
        chosen |= hits
    return chosen
