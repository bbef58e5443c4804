"""Arrays that `precision` keeps in another format now: decoded, and encoded as the new state keeps them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.dense import Dense
from optchain.core.keeping import AS_THEY_ARE
from optchain.core.walk import definitions, rewritten
from optchain.inspect.entries import Entry, entries
from optchain.inspect.nested import Keys, keys_of, plain
from optchain.storage.codes import Code, Packed, code_of
from optchain.storage.split import joined, rest_of

NARROW = ("float32", "bfloat16")
RESTS = {"int16": "split", "int8": "split8", "float32": "master", "bfloat16": "kahan", "float16": "kahan"}


@dataclasses.dataclass
class Conversion:
    """What the arrays of a state have to become for the links of a transformation.

    `done` has the names of slots that were converted, with both formats, and `problems` what could not be.
    """

    tx: Any
    params: Any
    leaves: list[tuple[Any, Any]]  # of the fresh state, with their paths
    done: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.links = {prefix: link for prefix, link in definitions(self.tx) if isinstance(link, Dense)}
        self.ps = {plain(keys_of(path)): p for path, p in jax.tree.leaves_with_path(self.params)}

    @functools.cached_property
    def wide(self) -> dict[str, Entry]:
        """The entries of the new state, abstract, if no slot were in a code."""
        return entries(jax.eval_shape(rewritten(self.tx, _as_laws_have_them).init, self.params))

    def of(self, old: Entry, new: Entry) -> Entry:
        """An entry in the formats of the one that continues it."""
        if old.converts:
            return old
        if new.name.endswith("(precision)"):
            return self._rests(old, new)
        link, slots = self.links.get(new.name), dict(old.slots)
        if link is not None and any(keys[1:2] == ("codes",) for keys in (*old.slots, *new.slots)):
            for keys, like in self.wide[new.name].slots.items():
                if keys[0] in link.rule.kinds:
                    self._slot(slots, link, new, keys, like)
        for keys, i in new.slots.items() if new.is_link else ():
            x, like = slots.get(keys), self.leaves[i][1]
            if x is not None and {_dtype(x), str(like.dtype)} == {*NARROW} and np.shape(x) == like.shape:
                slots[keys] = jnp.asarray(_floats(x)).astype(like.dtype)
                self.done[_named(new, keys[0])] = _dtype(x), str(like.dtype)
        return dataclasses.replace(old, slots=slots)

    def _slot(self, slots: dict[Keys, Any], link: Dense, new: Entry, keys: Keys, like: Any) -> None:
        """One slot of one parameter, if a code keeps it before or now, and not the same."""
        here, there = _places(slots, keys), _places(new.slots, keys)
        if not here or not there:
            return
        if len(here) == len(there) == 1:
            slots[there[0]] = slots.pop(here[0])  # a small leaf among codes stands at another place
            return
        olds, fresh = [slots[key] for key in here], [self.leaves[new.slots[key]][1] for key in there]
        before, after = (_code(link, keys[0], arrays, like.shape) for arrays in (olds, fresh))
        if len(olds) == len(fresh) and before in (None, after):
            return  # the same format, perhaps of a parameter that has grown
        x = _floats(olds[0])
        if before is None and (len(olds) == 2 or np.shape(x) != like.shape):
            held = f"{_dtype(x)}{list(np.shape(x))}, which is not a slot of shape {list(like.shape)}"
            cure = "change the format and the parameters one after the other"
            self.problems.append(f"{_named(new, *keys)} is {held}; {cure}")
            return
        x = before.decode(Packed(*map(jnp.asarray, olds)), like.shape) if before else jnp.asarray(x, jnp.float32)
        coded = len(fresh) == 2
        made: Any = link.storage.encoded(link.name, keys[0], "/".join(keys[1:]), x) if coded else (x,)
        for key in here:
            del slots[key]
        slots |= dict(zip(there, made, strict=True))
        self.done[_named(new, keys[0])] = str(before or _dtype(olds[0])), str(after or fresh[0].dtype)

    def _rests(self, old: Entry, new: Entry) -> Entry:
        """What rounding has left of parameters, and masters of them."""
        slots = dict(old.slots)
        for keys, i in new.slots.items():
            x, like, p = slots.get(keys), self.leaves[i][1], self.ps.get(plain(keys[1:]))
            if keys[0] != "rest" or x is None or p is None or np.shape(x) != p.shape or _dtype(x) == str(like.dtype):
                continue
            if not {_dtype(x), str(like.dtype)} <= RESTS.keys():
                continue
            x, p, held = jnp.asarray(_floats(x)), jnp.asarray(p), _dtype(x)
            whole = x if held == "float32" else joined(p, x) if "int" in held else p.astype("float32") + x
            if like.dtype == jnp.float32:
                slots[keys] = whole
            elif "int" in str(like.dtype):
                slots[keys] = rest_of(whole, p, like.dtype)
            else:
                slots[keys] = (whole - p.astype("float32")).astype(like.dtype)
            self.done[_named(new, keys[0])] = RESTS[held], RESTS[str(like.dtype)]
        return dataclasses.replace(old, slots=slots)


def _named(entry: Entry, slot: str, *path: str) -> str:
    return "/".join([f"{entry.name}.{slot}".lstrip("."), *path])


def _as_laws_have_them(link: Any) -> Any:
    return dataclasses.replace(link, storage=AS_THEY_ARE) if isinstance(link, Dense) else link


def _places(slots: dict[Keys, Any], keys: Keys) -> tuple[Keys, ...]:
    """The keys of one slot of one parameter: of its array, or of its codes and scales; none if it is not there."""
    slot, *path = keys
    if keys in slots and all(key[1:2] != ("scales",) or key[2:] != (*path,) for key in slots):
        return (keys,)
    parts = (slot, "codes", *path), (slot, "scales", *path)
    return tuple(key for key in parts if key in slots) or ((keys,) if keys in slots else ())


def _code(link: Dense, slot: str, arrays: list[Any], shape: tuple[int, ...]) -> Code | None:
    """The code that a slot of this shape is in, from its codes and scales; None in float32, or where none fits.

    The transformation that wrote it is not known: dtypes and shapes tell the codes of one kind apart.
    """
    for bits in (8, 16, 4) if len(arrays) == 2 else ():
        code = code_of(link.rule.kinds[slot], bits)
        if _dtype(arrays[0]) == code.dtype and code.shapes(shape) == tuple(map(np.shape, arrays)):
            return code
    return None


def _dtype(x: Any) -> str:
    return "bfloat16" if _is_forgotten(x) else str(getattr(x, "dtype", type(x).__name__))


def _floats(x: Any) -> Any:
    return x.view(jnp.bfloat16) if _is_forgotten(x) else x


def _is_forgotten(x: Any) -> bool:
    """Whether npz has forgotten that this was bfloat16."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "V" and x.dtype.itemsize == 2
