"""The arrays of a link that continues: what is carried over, and the counts that schedules continue from."""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.inspect.entries import Entry
from optchain.inspect.nested import Keys, lasting, plain
from optchain.inspect.pairing import Entries


@dataclasses.dataclass
class Carried:
    """The arrays that go into a new state by the number of the leaf, and the names of what has no counterpart."""

    values: dict[int, Any] = dataclasses.field(default_factory=dict)
    created: list[str] = dataclasses.field(default_factory=list)
    grown: dict[int, tuple[str, tuple[int, ...]]] = dataclasses.field(default_factory=dict)  # with the old shape
    dropped: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def carry(carried: Carried, old: Entry, new: Entry, leaves: list[tuple[Any, Any]], is_named: bool) -> None:
    """Add the arrays of one entry to what is carried over.

    Args:
        carried: to be added to.
        old: the entry with its arrays.
        new: the entry that continues it, with the numbers of the leaves.
        leaves: the leaves of the fresh state with their paths.
        is_named: whether the user has said that the one continues the other.
    """
    a, b = old.slots, new.slots
    slots, expected = ({keys[:1] for keys in x} for x in (a, b))
    again = f"start it again with renames={{{old.name!r}: None}}"
    is_other = None not in (old.technique, new.technique) and old.technique != new.technique
    held = [f"{names(x.slots)} of {x.technique}" if is_other else names(x.slots) for x in (old, new)]
    change = f"{new.name!r} held {held[0]} and is to hold {held[1]}: another technique under the same name"
    if new.is_link and (slots != expected or (set(a) != set(b) and _is_foreign(new, leaves))):
        carried.problems.append(f"{change}; rename it, or {again}")
        return
    if new.is_link and is_other and not is_named and slots != {("count",)}:
        carried.problems.append(f"{change}; go on with renames={{{old.name!r}: {new.name!r}}}, or {again}")
        return
    there = _by_name(a)
    match = {keys: keys if keys in a else there.get(plain(keys)) for keys in b}
    gone = [keys for keys in a if keys not in match.values()]
    for keys, i in b.items():
        like, origin = leaves[i][1], match[keys]
        if origin is None:
            carried.problems += _renamed(old, keys, like, gone, again)
            if keys[:1] in slots or not old.converts:  # what optax does not keep is not missed
                carried.created.append(_array(new, keys))
            continue
        x = _converted(a[origin], like) if old.converts else _same_bits(a[origin], like)
        if _has_grown(x, like):
            carried.values[i] = _placed(_with_new_rows(x, like), like)
            carried.grown[i] = (_array(new, keys), np.shape(x))
        elif _kind(x) != _kind(like):
            problem = f"{_array(new, keys)} is {_kind(x)}, expected {_kind(like)}"
            carried.problems.append(f"{problem}; convert it in the old state, or {again}")
        else:
            carried.values[i] = _placed(x, like)
    carried.dropped += [_array(old, keys) for keys in gone]


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
            carried.problems.append(f"{problem}; start all but one kind of them again with renames={{{name!r}: None}}")
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


def _by_name(slots: dict[Keys, Any]) -> dict[str, Keys]:
    """The keys of arrays by their plain names, without those that share one."""
    shared = collections.Counter(map(plain, slots))
    return {plain(keys): keys for keys in slots if shared[plain(keys)] == 1}


def _renamed(old: Entry, keys: Keys, like: Any, gone: list[Keys], again: str) -> Iterator[str]:
    """A slot of a parameter that is new, beside one of the same shape that is gone: renamed, or really another?"""
    alike = [x for x in gone if x[:1] == keys[:1] and np.shape(old.slots[x]) == np.shape(like)]
    if alike and len(keys) > 1:
        here, names = "/".join(keys[1:]), " or ".join("/".join(x[1:]) for x in alike)
        cure = f"if it was renamed, rename it in the old state; if not, drop {names} there, or {again}"
        yield f"{_array(old, keys)}: the parameter {here} is new, and {names} of the same shape is gone; {cure}"


def _has_grown(x: Any, like: Any) -> bool:
    """Whether this is the beginning of a larger array; where several axes differ, as of a square, they grew alike."""
    shape, wider = np.shape(x), np.shape(like)
    grown = {(n, m) for n, m in zip(shape, wider, strict=True) if n != m} if len(shape) == len(wider) else set()
    return len(grown) == 1 and _dtype(x) == _dtype(like) and all(0 < n < m for n, m in grown)


def _with_new_rows(x: Any, like: Any) -> Any:
    """The fresh array with the old entries in their places."""
    return jnp.asarray(like).at[tuple(slice(n) for n in np.shape(x))].set(jnp.asarray(x))


def _converted(x: Any, like: Any) -> Any:
    """An array of optax in the dtype of the slot; one that npz has forgotten is left to be refused."""
    x = _same_bits(x, like)
    return x if np.dtype(getattr(x, "dtype", like.dtype)).type is np.void else jnp.asarray(x, like.dtype)


def _dtype(x: Any) -> str:
    return str(getattr(x, "dtype", type(x).__name__))


def _kind(x: Any) -> str:
    return f"{_dtype(x)}{list(np.shape(x))}"


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
