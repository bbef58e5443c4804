"""Users' files as modules: each is called by its path, and imports what is beside it from its own folder.

This module poses as a package whose modules are users' files, so that what is pickled by name is found again in any
process in which optchain is installed. Projects do not meet: `import helpers` in a file means the `helpers.py` of its
folder, also where another project has one and where the working directory has one.
"""

import builtins
import hashlib
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

__path__: list[str] = []
PACKAGE = "__init__.py"
HASH, BESIDE = "__hash_of_file__", "__beside__"  # of a module's source, and of each file that it imports from beside it


def called(path: Path) -> str:
    """The name of the module of a file, or of a folder without `__init__.py`."""
    stem = path.parent.name if path.name == PACKAGE else path.stem
    return f"{__name__}.{stem.replace('.', '_')}__{path.as_posix().encode().hex()}"


def beside(name: str, folder: Path) -> str | None:
    """The name under which what a folder has is imported, by its dotted name there; None if it has no such module.

    Modules and packages of the folder come first, as in a script. A folder without `__init__.py`, which may just as
    well be one of data, comes after what is installed.
    """
    top, dot, inner = name.partition(".")
    if top == __name__.partition(".")[0]:  # a second copy of this package would not know the first one
        return None
    places = [file for file in (folder / top / PACKAGE, folder / f"{top}.py") if file.is_file()]
    if not places and (folder / top).is_dir() and not _is_installed(top):
        places = [folder / top]
    return f"{called(places[0].resolve())}{dot}{inner}" if places else None


def _is_installed(top: str) -> bool:
    """Whether a name is that of a module or a package, and not of a bare folder in the working directory."""
    spec = importlib.util.find_spec(top)
    return spec is not None and spec.origin is not None


def files_of(module: ModuleType) -> dict[str, str]:
    """The hashes of a module's file and of what it imported from beside it."""
    if HASH in vars(module):
        return {str(module.__file__): vars(module)[HASH], **vars(module)[BESIDE]}
    file = getattr(module, "__file__", None)
    return {file: _hash(Path(file).read_bytes())} if file else {}


def forget_changed(name: str) -> None:
    """Forget a module, and all that share files with it which were changed since, so that they are read again."""
    known = sys.modules.get(name)
    if known is None or HASH not in vars(known):
        return
    changed = {file for file, hashed in files_of(known).items() if not _is(Path(file), hashed)}
    ours = {other: module for other, module in sys.modules.items() if other.startswith(f"{__name__}.")}
    # A package and its modules are read again together.
    stale = {_root(other) for other, module in ours.items() if changed & files_of(module).keys()}
    for other in ours:
        if _root(other) in stale:
            del sys.modules[other]


def _root(name: str) -> str:
    """Of the name of a module the part that says where its file, or that of its package, is."""
    return name.removeprefix(f"{__name__}.").partition(".")[0]


def file_of(name: str) -> Path:
    """The file, or the folder without `__init__.py`, that the name of a module, or of its package, says."""
    return Path(bytes.fromhex(_root(name).rpartition("__")[2]).decode())


def _is(file: Path, hashed: str) -> bool:
    return file.is_file() and _hash(file.read_bytes()) == hashed


def _hash(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the module of a file by its name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}.") or "__" not in _root(fullname):
            return None
        place = file_of(fullname)
        if fullname.count(".") > __name__.count(".") + 1:  # a module of a package
            spec = PathFinder.find_spec(fullname, path, target)
        elif place.is_dir():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
        else:
            within = [str(place.parent)] if place.name == PACKAGE else None
            spec = importlib.util.spec_from_file_location(
                fullname, place, loader=self, submodule_search_locations=within
            )
        if spec is not None and isinstance(spec.loader, _Finder | SourceFileLoader):
            spec.loader = self
            spec.cached = None  # a file that is written again within the second and is as long would be a stale one
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        place, path = file_of(module.__name__), Path(str(module.__file__))
        folder, source = place.parent.parent if place.name == PACKAGE else place.parent, path.read_bytes()
        own = vars(builtins) | {"__import__": _importing(module, folder)}
        vars(module).update({"__builtins__": own, HASH: _hash(source), BESIDE: {}})
        exec(compile(source, str(path), "exec"), vars(module))


def _importing(module: ModuleType, folder: Path) -> Callable[..., ModuleType]:
    """What `import` does in a module whose folder, or that of its package, is looked into first."""
    plain = builtins.__import__

    def imported(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            whole = importlib.util.resolve_name("." * level + name, module.__package__)
            found = plain(name, globals, locals, fromlist or (), level)
            return _noted(module, whole, fromlist, found)
        whole = beside(name, folder)
        if whole is None:
            return plain(name, globals, locals, fromlist or (), 0)
        importlib.import_module(whole)
        found = plain(whole, globals, locals, fromlist, 0) if fromlist else sys.modules[f"{__name__}.{_root(whole)}"]
        return _noted(module, whole, fromlist, found)

    return imported


def _noted(module: ModuleType, whole: str, fromlist: Sequence[str] | None, found: ModuleType) -> ModuleType:
    """What was found; the module then knows the files of all that this import may have read."""
    parts = whole.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)] + [f"{whole}.{x}" for x in fromlist or ()]
    for known in filter(None, map(sys.modules.get, names)):
        if HASH in vars(known):
            vars(module)[BESIDE].update(files_of(known))
    return found


sys.meta_path.insert(0, _Finder())
