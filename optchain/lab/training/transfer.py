"""Beginning from what another run has learned: its parameters, whole or by their paths."""

from pathlib import Path
from typing import Any

import jax

from optchain.core.paths import matches, named_leaves, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.runs import run
from optchain.lab.runs.config import Start
from optchain.lab.training.chunk import Carry
from optchain.lab.training.evaluate import counted, restore


def transferred(table: Start, fresh: Carry) -> dict[str, jax.Array]:
    """What is taken over from another run, by its path: parameters of the model that counts, and the rest of the model.

    Args:
        table: from where, and which.
        fresh: the carry before the first step, for paths and shapes.

    Raises:
        InputError: no such run, a pattern that fits nothing, or parameters that the run lacks or has in other shapes.
    """
    trained = restore(run.find(Path(table.run)))
    sources, targets = by_path(trained.models[counted(trained.models)]), by_path(fresh)
    for key, patterns in (("only", table.only), ("exclude", table.exclude)):
        for pattern in patterns:
            if not any(matches(path, pattern) for path in targets):
                raise InputError(f"start.{key}: {pattern!r} fits no parameter; {nearest(pattern, targets)}")
    wanted = [path for path in targets if _fits(path, table.only) and not _fits(path, table.exclude)]
    wrong = [
        f"  {path}: {'absent' if path not in sources else _shape(sources[path])} there, {_shape(targets[path])} here"
        for path in wanted
        if path not in sources or sources[path].shape != targets[path].shape
    ]
    if wrong:
        cure = "leave them out with start.exclude, or choose others with start.only"
        raise InputError("\n".join([f"start.run: not all parameters are those of {table.run}; {cure}:", *wrong]))
    return {path: sources[path].astype(targets[path].dtype) for path in wanted}


def by_path(tree: dict[str, Any]) -> dict[str, Any]:
    """The parameters and the rest of a carry or of a model, by their paths."""
    return {path: leaf for part in ("params", "rest") for path, leaf in named_leaves(tree[part])}


def _fits(path: str, patterns: list[str]) -> bool:
    return any(matches(path, pattern) for pattern in patterns)


def _shape(array: Any) -> str:
    return " x ".join(map(str, array.shape)) or "a number"
