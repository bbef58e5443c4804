"""What a worker and the server send each other: tables of numbers, texts and arrays in msgpack, which runs no code."""

from typing import Any

import flax.serialization
import jax
import numpy as np

from optchain.core.paths import map_named, named_leaves, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.runs.config import Config
from optchain.lab.settings.load import flat
from optchain.version import __version__

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """A message as bytes."""
    return flax.serialization.msgpack_serialize(message)


def decode(content: bytes) -> Message:
    """The message in bytes.

    Raises:
        InputError: they hold none.
    """
    try:
        message = flax.serialization.msgpack_restore(content)
    except Exception as error:  # of many kinds: of msgpack, of NumPy, of what is not UTF-8
        raise InputError(f"got bytes that are not a message ({type(error).__name__}: {error})") from error
    if not isinstance(message, dict):
        raise InputError(f"got a message that is {type(message).__name__}; expected a table")
    return message


def by_path(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by their paths."""
    return {path: np.asarray(x) for path, x in named_leaves(tree)}


def kinds_of(tree: Any) -> dict[str, str]:
    """The shapes and dtypes of a tree's arrays in words, by their paths."""
    return {path: _kind(x) for path, x in named_leaves(tree)}


def matched(arrays: Any, like: Any, what: str) -> Any:
    """Arrays by path as a tree.

    Args:
        arrays: what was sent.
        like: a tree of arrays, or of their shapes and dtypes.
        what: they are, to name in errors.

    Raises:
        InputError: they are other arrays; says which.
    """
    found = arrays if isinstance(arrays, dict) else {}
    require_same_kinds({path: _kind(x) for path, x in found.items()}, kinds_of(like), what)
    return map_named(lambda path, _: found[path], like)


def require_same_kinds(found: dict[str, str], expected: dict[str, str], what: str) -> None:
    """Arrays have the expected paths, shapes and dtypes, or an error names the first that has not."""
    for path, kind in expected.items():
        if path not in found:
            raise InputError(f"{what}: {path!r} is missing; {nearest(path, found)}")
        if found[path] != kind:
            raise InputError(f"{what}: {path!r} is {found[path]}; expected {kind}")
    for path in found:
        if path not in expected:
            raise InputError(f"{what}: there is no {path!r}; {nearest(path, expected)}")


def introduction(config: Config, carry: Any) -> Message:
    """What a worker says first: all that decides what it computes.

    Args:
        config: that of a worker.
        carry: of its run, or the shapes of it.
    """
    # The number of steps may grow with the run; a chain that depends on it says so itself.
    settings = {key: x for key, x in flat(config.model_dump(mode="json")).items() if key != "train.steps"}
    arrays = {name: kinds_of(carry[name]) for name in ("params", "rest")}
    return {"optchain": __version__, "settings": {key: repr(x) for key, x in settings.items()}, "arrays": arrays}


def require_same(found: Message, expected: Message) -> None:
    """A worker computes what others do.

    Raises:
        InputError: naming the first thing that differs.
    """
    theirs, ours = found.get("optchain"), expected["optchain"]
    if theirs != ours:
        raise InputError(f"the worker has optchain {theirs}, the server {ours}; expected the same version")
    theirs, ours = found["settings"], expected["settings"]
    for key in dict.fromkeys([*ours, *theirs]):
        if theirs.get(key) != ours.get(key):
            got, told = theirs.get(key, "absent"), ours.get(key, "absent")
            raise InputError(f"{key}: the worker has {got}, the server {told}; expected the same configuration")
    for name, what in (("params", "the worker's parameters"), ("rest", "the rest of the worker's model")):
        require_same_kinds(found["arrays"][name], expected["arrays"][name], what)


def _kind(x: Any) -> str:
    if not isinstance(x, np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct):
        return type(x).__name__
    return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
