"""The arrays of a link that goes on: what is carried over, and the counts that schedules go on from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.inspect.entries import Entry
from optchain.inspect.nested import Keys, lasting
from optchain.inspect.pairing import Entries


@dataclasses.dataclass
class Carried:
    """The arrays that go into a new state by the number of the leaf, and the names of what has no counterpart."""

    values: dict[int, Any] = dataclasses.field(default_factory=dict)
    created: list[str] = dataclasses.field(default_factory=list)
    dropped: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def carry(carried: Carried, old: Entry, new: Entry, leaves: list[tuple[Any, Any]], told: bool) -> None:
    """Add the arrays of one entry to what is carried over.

    Args:
        carried: to be added to.
        old: the entry with its arrays.
        new: the entry that continues it, with the numbers of the leaves.
        leaves: the leaves of the fresh state with their paths.
        told: whether the user has said that the one continues the other.
    """
    a, b = old.slots, new.slots
    slots, expected = ({keys[:1] for keys in x} for x in (a, b))
    again = f"start it anew with renames={{{old.name!r}: None}}"
    is_other = None not in (old.technique, new.technique) and old.technique != new.technique
    held = [f"{names(x.slots)} of {x.technique}" if is_other else names(x.slots) for x in (old, new)]
    change = f"{new.name!r} held {held[0]} and is to hold {held[1]}: another technique under the same name"
    if new.is_link and (slots != expected or (set(a) != set(b) and _is_foreign(new, leaves))):
        carried.problems.append(f"{change}; rename it, or {again}")
        return
    if new.is_link and is_other and not told and slots != {("count",)}:
        carried.problems.append(f"{change}; go on with renames={{{old.name!r}: {new.name!r}}}, or {again}")
        return
    unknown = [keys for keys in b if keys not in a and keys[:1] in slots]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        problem = f"{_array(new, unknown[0])}{more} is new to this link, which has one count for all of its parameters"
        cure = f"{again}, give the parameter a group of its own, or rename it in the old state"
        carried.problems.append(f"{problem}; {cure}")
    for keys, i in b.items():
        if keys in a:
            x, like = _same_bits(a[keys], leaves[i][1]), leaves[i][1]
            if _kind(x) != _kind(like):
                problem = f"{_array(new, keys)} is {_kind(x)}, expected {_kind(like)}"
                carried.problems.append(f"{problem}; convert it in the old state, or {again}")
            else:
                carried.values[i] = _placed(x, like)
        else:
            carried.created.append(_array(new, keys))
    carried.dropped += [_array(old, keys) for keys in a if keys not in b]


def clocks(
    before: Entries, after: Entries, pairs: dict[str, str], leaves: list[tuple[Any, Any]], carried: Carried
) -> list[tuple[str, int]]:
    """Set each count that schedules read to what it was for the links that go on; those that had to be set."""
    expected: dict[int, dict[int, str]] = {}
    for new, old in pairs.items():
        clock = before[old].clock
        reads = after[new].is_link or new.endswith("(chain)")
        if reads and clock is not None and after[new].clock is not None:
            expected.setdefault(after[new].clock, {}).setdefault(int(clock), new)
    owners = {i: (entry, keys) for entry in after.values() for keys, i in entry.slots.items()}
    changed = []
    for i, counts in expected.items():
        entry, keys = owners[i]
        (count, name), *others = counts.items()
        if others:
            links = ", ".join(f"{name!r} at {count}" for count, name in counts.items())
            problem = f"{_array(entry, keys)} would be one count for links that counted differently: {links}"
            carried.problems.append(f"{problem}; start all but one kind of them anew with renames={{{name!r}: None}}")
        elif entry.is_link and int(carried.values.get(i, leaves[i][1])) != count:
            problem = f"the schedules of {name!r} read {count}, and would read the link's own count"
            carried.problems.append(f"{problem}; leave it in a chain")
        elif int(carried.values.get(i, leaves[i][1])) != count:
            like = leaves[i][1]
            carried.values[i] = _placed(jnp.asarray(count, like.dtype), like)
            changed.append((_array(entry, keys), count))
    return changed


def _is_foreign(entry: Entry, leaves: list[tuple[Any, Any]]) -> bool:
    """Whether this is the state of one of optax's transformations, which are tuples where ours are tables."""
    keys, i = next(iter(entry.slots.items()))
    path = lasting(leaves[i][0])
    return not keys or not isinstance(path[-len(keys)], jax.tree_util.DictKey)


def _array(entry: Entry, keys: Keys) -> str:
    """The name of one array: link, slot and path."""
    slot = f"{entry.name}.{keys[0]}" if entry.name and keys else "".join(keys[:1]) or entry.name
    return "/".join([slot, *keys[1:]])


def names(slots: dict[Keys, Any]) -> str:
    """The slots of an entry in a line."""
    return ", ".join(dict.fromkeys("/".join(keys[:2]) if keys[0].isdigit() else keys[0] for keys in slots if keys))


def _kind(x: Any) -> str:
    return f"{getattr(x, 'dtype', type(x).__name__)}{list(np.shape(x))}"


def _same_bits(x: Any, like: Any) -> Any:
    """An array of which npz has forgotten that it was, say, bfloat16."""
    forgotten = isinstance(x, np.ndarray) and x.dtype.kind == "V" and x.dtype.itemsize == like.dtype.itemsize
    return x.view(like.dtype) if forgotten else x


def _placed(x: Any, like: Any) -> Any:
    """The array on the devices of the fresh one, where that was put somewhere on purpose."""
    if getattr(like, "committed", False):
        return jax.device_put(x, like.sharding)
    # A count that was restored to one device must not be tied to it where the parameters live on several.
    return jnp.asarray(np.asarray(x) if like.shape == () and like.dtype.kind in "iuf" else x)
