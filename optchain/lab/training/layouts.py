"""Parameters of PyTorch: how its layers call them, and in which order their axes are, beside those of Flax."""

from typing import Any

import numpy as np

KERNEL = "kernel"
# What PyTorch calls an array of a layer, and where Flax may have the same one.
NAMES = {
    "weight": ("{}kernel", "{}scale", "{}embedding"),
    "running_mean": ("{}mean", "batch_stats/{}mean"),
    "running_var": ("{}var", "batch_stats/{}var"),
}


def from_torch(arrays: dict[str, Any], targets: dict[str, Any]) -> dict[str, Any]:
    """Arrays of PyTorch with the names and the order of axes that Flax has; what has no target stays as it is.

    Args:
        arrays: by path.
        targets: what they are for, by path.
    """
    renamed = {_name(path, targets): x for path, x in arrays.items()}
    return {path: _in_order(x) if path in targets and _is_kernel(path) else x for path, x in renamed.items()}


def advice(wanted: list[str], targets: dict[str, Any], sources: dict[str, Any], torch: bool) -> list[str]:
    """A line that says which layout fits, where the one that was taken does not.

    Args:
        wanted: the paths of parameters that are looked for.
        targets: these and others, by path.
        sources: what there is, by path; of the layout of PyTorch already in the order of Flax.
        torch: whether that layout was taken.
    """
    found = [(sources[path].shape, targets[path].shape) for path in wanted if path in sources and _is_kernel(path)]
    differ = [(there, here) for there, here in found if there != here and len(there) == len(here)]
    if torch:
        fits = differ and all(_axes_back(there) == here for there, here in differ)
        return ['they fit as they are there: leave out layout = "torch"'] if fits else []
    renamed = any(path not in sources and path in map(lambda name: _name(name, targets), sources) for path in wanted)
    fits = differ and all(_axes(there) == here for there, here in differ)
    return ['they are named or laid out as those of PyTorch: layout = "torch"'] if fits or renamed else []


def _name(path: str, targets: dict[str, Any]) -> str:
    """What Flax calls the parameter at a path of PyTorch, by what there is."""
    above, slash, name = path.rpartition("/")
    others = (other.format(above + slash) for other in NAMES.get(name, ()))
    return next((other for other in others if other in targets), path)


def _is_kernel(path: str) -> bool:
    return path.rpartition("/")[2] == KERNEL


def _in_order(x: Any) -> Any:
    """(out, in, ...) as (..., in, out)."""
    return np.moveaxis(np.asarray(x), (0, 1), (-1, -2)) if x.ndim > 1 else x


def _axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], shape[1], shape[0]) if len(shape) > 1 else shape


def _axes_back(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], shape[-2], *shape[:-2]) if len(shape) > 1 else shape
