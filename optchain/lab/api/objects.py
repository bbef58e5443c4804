"""The objects of a run that is begun from Python, each at a place from which a later process takes it."""

import inspect
import sys
from pathlib import Path
from typing import Any

from optchain.lab.api.identity import identity
from optchain.lab.base.errors import InputError
from optchain.lab.settings import modules, places
from optchain.lab.settings.places import Placed

FOLDER = "objects"  # of a run, a study or a comparison, for what has no place of its own


class Objects:
    """What a run is made of. An object that a fresh process finds by its module and name has that place; any other,
    such as a lambda, or a class of a notebook, becomes a pickle in the run's folder.

    Args:
        folder: of the run, the study or the comparison.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.kept: dict[Path, Any] = {}

    def place(self, role: str, target: Any) -> Placed:
        """The place of an object.

        Args:
            role: what it is for, for the name of its file.
            target: a class, a function, or a thing that can be called.
        """
        use = place_of(target)
        if use is not None:
            return places.find(use, Path())
        path = self.folder / FOLDER / f"{role}-{identity(target)}.pkl"
        self.kept[path] = target
        places.remember(path, target)
        return Placed(f"{path}:{role}", target, {})

    def write(self) -> None:
        """Write the pickles, once the folder is there.

        Raises:
            InputError: an object cannot be pickled.
        """
        import cloudpickle

        for path, target in self.kept.items():
            if path.is_file():  # called by its content, and so the same
                continue
            try:
                content = cloudpickle.dumps(target)
            except Exception as error:  # of many kinds
                cure = "define it in a file of its own and import it, or leave out what cannot be kept"
                said = f"{type(error).__name__}: {error}"
                raise InputError(
                    f"{path.stem.partition('-')[0]}: {said}; a later process could not have it: {cure}"
                ) from error
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def place_of(target: Any) -> str | None:
    """`file.py:Name` or `package.module:Name` where a fresh process finds that very object; None where it would not."""
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    if module in (None, "__main__") or not name.isidentifier() or module not in sys.modules:
        return None
    if getattr(sys.modules[module], name, None) is not target:
        return None
    file = inspect.getsourcefile(sys.modules[module])
    beside = file is not None and Path(file).parent == Path(sys.path[0] or ".").resolve()
    return f"{file}:{name}" if beside or module.startswith(modules.__name__) else f"{module}:{name}"
