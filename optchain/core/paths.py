"""Names of leaves, the same everywhere, and the nearest name to a wrong one."""

import difflib
from collections.abc import Iterable
from typing import Any

import jax


def path_of(keypath: tuple[Any, ...]) -> str:
    """The name of a leaf, its keys joined by `/`.

    >>> import jax
    >>> [path_of(path) for path, _ in jax.tree.leaves_with_path({"dense": {"kernel": 1, "bias": 2}})]
    ['dense/bias', 'dense/kernel']
    """
    return jax.tree_util.keystr(lasting(keypath), simple=True, separator="/")


def lasting(keypath: tuple[Any, ...]) -> tuple[Any, ...]:
    """The keys without the `.value` that nnx appends to those of a variable at init and not at update."""
    return keypath[:-1] if keypath and getattr(keypath[-1], "name", None) == "value" else keypath


def nearest(name: str, valid: Iterable[str], show: int = 12) -> str:
    """The end of an error message: the nearest valid names, or all of them where none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f", ... ({len(names) - show} more)" if len(names) > show else ""
    return f"valid: {', '.join(names[:show])}{more}" if names else "there are none"
