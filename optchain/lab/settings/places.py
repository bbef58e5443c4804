"""Objects by place: `file.py:Name`, from the folder of the configuration, or `package.module:Name`; or `file.pkl:role`,
which the lab writes for what has no other place."""

import importlib
import importlib.util
import re
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.settings import modules
from optchain.lab.settings.table import relative_path


class Placed(NamedTuple):
    """An object, its place, and the hashes of the files that it was read from."""

    use: str  # with the file's whole path
    target: Any
    files: dict[str, str]


def is_place(text: Any) -> bool:
    """Whether a text is the place of an object, as the names of built-in ones never are."""
    return isinstance(text, str) and (":" in text or text.endswith((".py", ".pkl")))


def absolute(use: str, folder: Path | str) -> str:
    """A place with the whole path of its file."""
    place, _, name = use.partition(":")
    if not place.endswith((".py", ".pkl")):
        return use
    return f"{Path(folder, Path(place).expanduser()).resolve()}:{name}"


def relative(use: str, folder: Path) -> str:
    """A place whose file has a whole path, as it is from a folder; the inverse of `absolute`."""
    place, _, name = use.partition(":")
    whole = place.endswith(".py") and Path(place).is_absolute()
    return f"{relative_path(place, folder)}:{name}" if whole else use


def find(use: str, folder: Path) -> Placed:
    """The object at a place.

    A file that was changed since it was last asked for is read again, and so are those that import it from beside it.

    Args:
        use: the place.
        folder: from which a file's path is read, and in which modules are found as well.

    Raises:
        InputError: no such file, module or name; what the file raised, with its line; or nothing that can be called.
    """
    place, _, name = use.partition(":")
    if place.endswith(".pkl"):
        path = (folder / Path(place)).resolve()
        return Placed(f"{path}:{name}", _unpickled(use, path), {})
    path = (folder / Path(place).expanduser()).resolve() if place.endswith(".py") else None
    module = _module(use, place, path, folder)
    public = {key: x for key, x in vars(module).items() if callable(x) and not key.startswith("_")}
    own = [key for key, x in public.items() if getattr(x, "__module__", "") == module.__name__]
    if not name:
        raise InputError(f"got {use!r}; expected {place}:NAME, {nearest('', own)}")
    if not hasattr(module, name):
        raise InputError(f"got {use!r}; {place} has no {name!r}, {nearest(name, own or public)}")
    target = getattr(module, name)
    if not callable(target):
        raise InputError(f"got {use!r}, which is {target!r}; expected a class or a function")
    file = Path(module.__file__ or "")
    # A module beside the configuration is a file of it, which is found from elsewhere too.
    beside = path is None and file.suffix == ".py" and file.parent == folder.resolve()
    return Placed(f"{file if beside else path or place}:{name}", target, modules.files_of(module))


def remember(path: Path, target: Any) -> None:
    """Take an object for that of a pickle which is not written yet."""
    _remembered[path] = target


def _unpickled(use: str, path: Path) -> Any:
    import cloudpickle

    if path in _remembered:
        return _remembered[path]
    try:
        return cloudpickle.loads(path.read_bytes())
    except Exception as error:  # of many kinds: of a file, of another Python, of a module that is not there
        raise InputError(f"got {use!r}, which cannot be read: {type(error).__name__}: {error}") from error


_remembered: dict[Path, Any] = {}


def target(use: str) -> Any:
    """The object at a place that holds a whole path, as `optchain.from_config` wants it.

    Raises:
        ValueError: see `find`.
    """
    try:
        return find(use, Path()).target
    except InputError as error:
        raise ValueError(str(error)) from error.__cause__


def raised_at(error: BaseException, files: Collection[str]) -> str:
    """What was raised, in words, and the last line of some files through which it came."""
    at, frame = "", error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in files:
            at = f"{Path(frame.tb_frame.f_code.co_filename).name}, line {frame.tb_lineno}: "
        frame = frame.tb_next
    lines = [line for line in str(error).splitlines() if not line.startswith("See https://docs.jax.dev")]
    return f"{at}{type(error).__name__}: {_short(' '.join(lines))}"


def _module(use: str, place: str, path: Path | None, folder: Path) -> ModuleType:
    if path is None:
        fullname = _by_name(place, folder.resolve())
    else:
        fullname = modules.called(path)
        if not path.is_file():
            there = sorted(other.name for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
            raise InputError(f"got {use!r}; there is no file {path}; {nearest(path.name, there)}")
    modules.forget_changed(fullname)
    try:
        return importlib.import_module(fullname)
    except InputError as error:
        raise InputError(f"got {use!r}: {error}") from None
    except ModuleNotFoundError as error:
        if path is None and error.name and f"{fullname}.".startswith(f"{error.name}."):
            where = f"installed or in {folder.resolve()}"
            raise InputError(f"got {use!r}; there is no module {_short(error.name)!r}, {where}") from None
        raise InputError(_raised(error, use, path)) from error
    except (Exception, SystemExit) as error:
        raise InputError(_raised(error, use, path)) from error


def _by_name(name: str, folder: Path) -> str:
    """The name under which the module that a dotted name means is imported: one of the folder comes first."""
    own, top = modules.beside(name, folder), name.partition(".")[0]
    installed = importlib.util.find_spec(top) if own is not None else None
    is_that = installed is not None and modules.file_of(str(own)) == Path(installed.origin or "").resolve()
    return name if own is None or is_that else own


def _short(text: str) -> str:
    """A text in which the modules of users' files have the names that the user knows."""
    return re.sub(rf"{re.escape(modules.__name__)}\.(\w+?)__[0-9a-f]+\b", r"\1", text)


def _raised(error: BaseException, use: str, path: Path | None) -> str:
    """What a file raised, and at which of its lines."""
    line, frame = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None, error.__traceback__
    while frame is not None and line is None:
        if path is not None and frame.tb_frame.f_code.co_filename == str(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return (
        f"got {use!r}; {path or 'it'}{f', line {line}' if line else ''}: {type(error).__name__}: {_short(str(error))}"
    )
