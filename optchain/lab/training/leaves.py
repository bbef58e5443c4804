"""Arrays by path: read from files and from checkpoints of other programs, and written to files."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.paths import named_leaves
from optchain.lab.base.errors import InputError, first_line
from optchain.lab.base.files import naming

SUFFIXES = (".safetensors", ".npz")
TREE = "_METADATA"  # the file of Orbax that says which arrays a folder holds


def read(path: Path) -> dict[str, Any]:
    """The arrays of a `.safetensors` or `.npz` file by their names.

    Where no name has a slash, as in files of PyTorch, dots take their place: `encoder.weight` is `encoder/weight`.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        with naming(path):
            arrays = _read(path)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    if any("/" in name for name in arrays):
        return arrays
    return {name.replace(".", "/"): x for name, x in arrays.items()}


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name, at once or not at all. NumPy has no bfloat16: in an `.npz` such arrays are float32.

    Raises:
        InputError: the name of the file has another ending.
    """
    require_suffix(path)
    part = path.with_name(f".{path.name}.part")
    with naming(path):
        if path.suffix == ".npz":
            with part.open("wb") as file:
                plain: dict[str, Any] = {name: np.asarray(_plain(x)) for name, x in arrays.items()}
                np.savez(file, **plain)
        else:
            from safetensors.flax import save_file

            save_file({name: jnp.asarray(x) for name, x in arrays.items()}, part)
        os.replace(part, path)


def require_suffix(path: Path) -> None:
    """The name of a file is that of a kind that is written here."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def of_checkpoint(folder: Path) -> dict[str, Any]:
    """The arrays of an Orbax checkpoint by their paths, whatever its tree is.

    Of a manager's folder the newest step is read; where a checkpoint has several items, their names begin the paths.

    Raises:
        InputError: there is no checkpoint, or it cannot be read.
    """
    items = _items(_newest(folder))
    if not items:
        raise InputError(f"{folder} holds no Orbax checkpoint: no folder in it has a file {TREE}")
    arrays: dict[str, Any] = {}
    for item in items:
        try:
            tree = _restored(item)
        except Exception as error:  # of many kinds: files that are missing, cut off, or hold something else
            first = first_line(error)
            raise InputError(f"{item} cannot be read: {type(error).__name__}: {first}") from error
        prefix = f"{item.name}/" if len(items) > 1 else ""
        arrays |= {prefix + path: x for path, x in named_leaves(tree) if hasattr(x, "shape")}
    return arrays


def _read(path: Path) -> dict[str, Any]:
    path.open("rb").close()  # safetensors does not say that there is no such file
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _plain(x: Any) -> Any:
    return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x


def _newest(folder: Path) -> Path:
    """The folder of the newest step, where it is one of a manager's."""
    steps = [path for path in folder.glob("*") if path.name.isdigit() and path.is_dir()]
    return max(steps, key=lambda path: int(path.name)) if steps else folder


def _items(folder: Path) -> list[Path]:
    """The folders of trees in that of a checkpoint."""
    found = [folder] if (folder / TREE).is_file() else sorted(path.parent for path in folder.glob(f"*/{TREE}"))
    return [path.resolve() for path in found]


def _restored(item: Path) -> Any:
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        tree = reader.metadata(item).item_metadata.tree
        plain = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return reader.restore(item, ocp.args.PyTreeRestore(item=tree, restore_args=plain))
