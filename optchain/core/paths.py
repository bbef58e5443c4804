"""Names of leaves, the same everywhere, patterns on them, and the nearest name to a wrong one."""

import difflib
import fnmatch
import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax


def named_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[str, Any]]:
    """The leaves of a tree with their names: the keys that lead to them, joined by `/`.

    The `value` in which Flax boxes an array (a variable of nnx, a `Partitioned` of linen) is not a part of the name,
    because nnx has such boxes at `init` and none at `update`.

    Raises:
        ValueError: two leaves with the same name, such as those of `{"a": {"b/w": x}, "a/b": {"w": y}}`.

    >>> named_leaves({"dense": {"kernel": 1, "bias": 2}})
    [('dense/bias', 2), ('dense/kernel', 1)]
    """
    pairs = jax.tree.leaves_with_path(tree, is_leaf=is_leaf)
    names = [path_of(path) for path, _ in pairs]
    if any("value" in name for name in names):
        names = [path_of(path) for path in _unboxed(tree, [path for path, _ in pairs], is_leaf)]
    if len(set(names)) < len(names):
        _require_distinct(names, [path for path, _ in pairs])
    return [(name, x) for name, (_, x) in zip(names, pairs, strict=True)]


def names_of(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[str]:
    """The names of the leaves of a tree, in order."""
    return [name for name, _ in named_leaves(tree, is_leaf)]


def map_named(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree with `function(name, leaf, ...)` in the place of each leaf, as `jax.tree.map` does without names."""
    treedef = jax.tree.structure(tree)
    columns = [treedef.flatten_up_to(other) for other in others]
    return treedef.unflatten([function(*leaf, *rest) for leaf, *rest in zip(named_leaves(tree), *columns, strict=True)])


def path_of(keypath: tuple[Any, ...]) -> str:
    """Keys joined by `/`, those of boxes too. What has the tree takes `named_leaves`."""
    return jax.tree_util.keystr(keypath, simple=True, separator="/")


def matches(path: str, pattern: str) -> bool:
    """Whether a path is, or fits, a pattern, in which `*` crosses slashes."""
    return path == pattern or fnmatch.fnmatchcase(path, pattern)


def nearest(name: str, valid: Iterable[str], show: int = 12) -> str:
    """The end of an error message: the nearest valid names, or all of them where none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f", ... ({len(names) - show} more)" if len(names) > show else ""
    return f"valid: {', '.join(names[:show])}{more}" if names else "there are none"


def _unboxed(tree: Any, paths: list[Any], is_leaf: Callable[[Any], bool] | None) -> list[Any]:
    """The paths without the key of what is in a box of Flax."""
    if not any(getattr(key, "name", None) == "value" for path in paths for key in path):
        return paths
    pairs = jax.tree.leaves_with_path(tree, is_leaf=lambda x: _is_box(x) or (is_leaf is not None and is_leaf(x)))
    boxes = {path for path, x in pairs if _is_box(x)}
    return [tuple(key for i, key in enumerate(path) if path[:i] not in boxes) for path in paths]


def _is_box(x: Any) -> bool:
    """Whether Flax keeps an array in this under the name `value`. Where one is at hand, Flax has been imported."""
    linen, nnx = sys.modules.get("flax.core.meta"), sys.modules.get("flax.nnx")
    is_of_linen = linen is not None and isinstance(x, linen.AxisMetadata)
    return is_of_linen or (nnx is not None and isinstance(x, nnx.Variable))


def _require_distinct(names: list[str], paths: list[Any]) -> None:
    seen: dict[str, Any] = {}
    for name, path in zip(names, paths, strict=True):
        if name in seen:
            both = " and ".join(map(jax.tree_util.keystr, (seen[name], path)))
            raise ValueError(f"two leaves have the same path {name!r}: {both}; rename a key that holds a slash")
        seen[name] = path
