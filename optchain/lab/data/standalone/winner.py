"""A trained model with all that it needs to answer raw inputs."""

import io
import json
import pkgutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from .packing import unpacked


class Winner:
    """A model that was exported.

    Args:
        package: the package whose files it is made of: `about.json`, `arrays.npz` and `model.bin`, which holds the
            network as a function of its parameters and of prepared inputs, for any number of rows.

    Attributes:
        about: where it comes from, the versions that wrote it, and the platforms on which it runs.
        params: the arrays of the network, by path.
    """

    def __init__(self, package: str) -> None:
        found = json.loads(_file(package, "about.json"))
        with np.load(io.BytesIO(_file(package, "arrays.npz")), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        self.about: dict[str, Any] = found["about"]
        self.params = {  # NumPy has no bfloat16: such arrays are kept as their bits
            path: arrays[name].view(jax.numpy.dtype(kind)) for path, (name, kind) in found["params"].items()
        }
        self._encode, self._prepare, self._answers = (
            unpacked(found[name], arrays) for name in ("encode", "prepare", "answers")
        )
        try:
            exported = export.deserialize(bytearray(_file(package, "model.bin")))
        except ValueError as error:
            here, there = jax.__version__, self.about["versions"]["jax"]
            cure = "take a version of jax near that one, or export the run again"
            raise ImportError(f"jax {here} cannot read what jax {there} wrote ({error}); {cure}") from error
        self._arrays = jax.device_put(list(self.params.values()))
        self._network = jax.jit(exported.call)

    def predict(self, inputs: Any) -> dict[str, np.ndarray]:
        """Columns with the answers.

        Args:
            inputs: as the training data had them: columns by name, texts, or arrays; or the path of a file with such,
                a CSV file, a text, an .npy or an .npz.

        Raises:
            ValueError: the inputs are not like those of training.
        """
        if isinstance(inputs, str | Path):
            inputs = self._read(Path(inputs))
        if self._encode is not None and self._encode.takes(inputs):
            inputs = self._encode(inputs)
        prepared = self._prepare(inputs)
        if not len(jax.tree.leaves(prepared)[0]):
            raise ValueError("got no row; expected at least one")
        return self._answers(self._network(self._arrays, prepared))

    def _read(self, path: Path) -> Any:
        if path.suffix not in (".npy", ".npz"):
            if self._encode is None:
                raise ValueError(f"{path}: expected an .npy or an .npz, because the inputs are arrays")
            return self._encode.read(path)
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            arrays = dict(found)
        return arrays if isinstance(getattr(self._prepare, "kinds", None), dict) else next(iter(arrays.values()))


def _file(package: str, name: str) -> bytes:
    content = pkgutil.get_data(package, name)
    if content is None:
        raise ImportError(f"{package} has no file {name}")
    return content
