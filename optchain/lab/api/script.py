"""The Python script that does what a configuration does."""

import json
import math
import sys
from pathlib import Path
from typing import Any

from optchain.lab.comparison.tables import Comparison
from optchain.lab.runs.config import Config, load
from optchain.lab.settings.load import read
from optchain.lab.settings.places import is_place
from optchain.lab.tuning.tables import Study

WIDTH = 100  # of a line
KINDS = {"compare": (Comparison, "comparison"), "tune": (Study, "study"), "train": (Config, "run")}
FIRST = ("task", "model", "optimizer", "optimizers", "space", "steps", "batch")  # of the arguments, in this order
RESERVED = {"HERE", "Path", "lab", *(name for _, name in KINDS.values())}


class Code(str):
    """An expression, to be written as it is."""


class _Script:
    """A script in the making: what it imports, and whether it names its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names, self.names_folder = folder.resolve(), {}, False

    def tree(self, said: Any, whole: Any, relative: Any, key: str = "") -> Any:
        """Tables as the file has them, in which places are the objects, and paths begin at the script's folder.

        Args:
            said: a value of the file.
            whole: the same value as it was read, where paths are whole.
            relative: the same, where paths begin at the folder.
            key: under which it stands.
        """
        if isinstance(said, dict) and isinstance(whole, dict):
            return {name: self.tree(x, whole.get(name), relative.get(name), name) for name, x in said.items()}
        if isinstance(said, list) and isinstance(whole, list) and len(said) == len(whole):
            return [self.tree(*values, key) for values in zip(said, whole, relative, strict=True)]
        if not isinstance(said, str):
            return said
        is_file = isinstance(whole, str) and whole != relative
        if is_place(said) and (is_file or key == "use"):
            return self._object(said, is_file)
        return self._file(said) if is_file else said

    def _object(self, use: str, is_file: bool) -> Any:
        """The name of an object that is imported, or its place where no import finds it."""
        place, _, name = use.partition(":")
        module = place.removesuffix(".py") if place.endswith(".py") else place
        if place.endswith((".py", ".pkl")) and (not module.isidentifier() or module in sys.stdlib_module_names):
            return self._file(use) if is_file else use
        if self.names.setdefault(name, module) != module or name in RESERVED:
            alias = f"{module.replace('.', '_')}_{name}"
            self.names[alias] = module
            return Code(alias)
        return Code(name)

    def _file(self, path: str) -> Any:
        if Path(path).expanduser().is_absolute():
            return path
        self.names_folder = True
        return Code(f"str(HERE / {json.dumps(path, ensure_ascii=False)})")

    def head(self) -> list[str]:
        """The lines that import."""
        imports = []
        for name, module in self.names.items():
            own = name.removeprefix(f"{module.replace('.', '_')}_")
            imports.append(f"from {module} import {own}{'' if own == name else f' as {name}'}")
        paths = ["from pathlib import Path", ""] if self.names_folder else []
        here = ["", "HERE = Path(__file__).parent"] if self.names_folder else []
        return [*paths, *sorted([*imports, "from optchain import lab"]), *here]


def as_python(path: Path | str, sets: list[str] | None = None, out: Path | str | None = None) -> str:
    """The Python script that does what a configuration does, with the same numbers.

    Objects of the user's are imported, and files are looked for in the folder of the script, which is therefore to be
    saved beside the configuration.

    Args:
        path: the TOML file that `optchain train`, `tune` or `compare` takes.
        sets: overrides, as `--set` has them: `["train.seed=1"]`.
        out: the folder of the run, the study or the comparison; if left out, the one that the command takes.

    Raises:
        InputError: the configuration is wrong; see `optchain train`.
    """
    path, said = Path(path), read(path, sets)
    call = "compare" if "optimizers" in said else "tune" if "search" in said or "space" in said else "train"
    kind, result = KINDS[call]
    table = load(path, sets, kind)
    script = _Script(path.parent)
    tree = script.tree(said, table.model_dump(mode="json"), table.written(path.parent.resolve(), mode="json"))
    search = {"search_seed" if name == "seed" else name: x for name, x in tree.pop("search", {}).items()}
    arguments = tree | tree.pop("train") | search
    arguments = {name: arguments[name] for name in sorted(arguments, key=_order)}
    arguments["out"] = str(out or Path("runs") / path.parent.name / path.stem)
    lines = [f'"""What {path.name} describes, from Python."""', "", *script.head(), ""]
    lines += [f"{result} = lab.{call}("]
    lines += [f"    {name}={_code(x, 4, len(name) + 2)}," for name, x in arguments.items()]
    return "\n".join([*lines, ")", f"print({result})", f"{result}.report()", ""])


def _order(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _code(x: Any, indent: int, before: int = 0) -> str:
    """A value as Python's source, in one line if it fits.

    Args:
        x: the value.
        indent: of the line in which it begins.
        before: letters of that line before it.
    """
    line = _in_a_line(x)
    if indent + before + len(line) < WIDTH or not isinstance(x, dict | list) or not x:
        return line
    inner = indent + 4
    if isinstance(x, dict):
        parts = [f"{_in_a_line(name)}: {_code(value, inner, len(name) + 5)}," for name, value in x.items()]
    else:
        parts = [f"{_code(value, inner)}," for value in x]
    begin, end = "{}" if isinstance(x, dict) else "[]"
    return "\n".join([begin, *(f"{' ' * inner}{part}" for part in parts), f"{' ' * indent}{end}"])


def _in_a_line(x: Any) -> str:
    if isinstance(x, dict):
        return "{" + ", ".join(f"{_in_a_line(name)}: {_in_a_line(value)}" for name, value in x.items()) + "}"
    if isinstance(x, list):
        return f"[{', '.join(map(_in_a_line, x))}]"
    if isinstance(x, float) and not math.isfinite(x):
        return f'float("{x}")'
    return json.dumps(x, ensure_ascii=False) if isinstance(x, str) and not isinstance(x, Code) else str(x)
