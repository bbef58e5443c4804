"""The stub of the public surface, which editors and type checkers read: `make stubs`.

Techniques, presets, schedules and wrappers are made when the module runs, so that a checker sees no arguments: the stub
has their signatures, types, defaults and docstrings. It has every other public name as it is where it is defined.
"""

import ast
import inspect
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optchain
from optchain.core.registry import SCHEDULE, registered
from optchain.core.schedule import Schedule
from optchain.core.transform import Transform
from optchain.inspect.annotations import Imports, hints, text

STUB = Path(optchain.__file__).with_suffix(".pyi")
HEADER = '"""Composable, pure gradient transformations for JAX. Written by `make stubs`: do not edit."""'
WIDTH = 120


def written() -> str:
    """The stub of the public names, in the order in which `__init__.py` exports them."""
    imports, functions = Imports(), []
    lines = dict[str, str]()
    for name, module in exports().items():
        x = getattr(optchain, name)
        if is_made(x):
            functions.append(definition(name, x, imports))
        else:
            lines[name] = f"from {module} import {name} as {name}"
    return "\n\n".join([HEADER, *_import_blocks(imports, list(lines.values())), *functions]) + "\n"


def exports() -> dict[str, str]:
    """The public names, each with the module that defines it."""
    tree = ast.parse(Path(optchain.__file__).read_text())
    nodes = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    return {alias.name: node.module or "" for node in nodes for alias in node.names}


def is_made(x: Any) -> bool:
    """Whether a public name is a function that a decorator or `lift` made, whose arguments a checker cannot see."""
    return any(entry.make is x for entry in registered().values())


def definition(name: str, function: Callable[..., Any], imports: Imports) -> str:
    """The signature and the docstring of a function, as ruff formats them."""
    known = hints(function)
    parameters = inspect.signature(function).parameters.values()
    arguments = [argument(p, known[p.name], imports) for p in parameters]
    by_name = sum(p.kind is p.KEYWORD_ONLY for p in parameters)
    if by_name:
        arguments.insert(len(arguments) - by_name, "*")
    result = text(Schedule if registered()[name].kind == SCHEDULE else known.get("return", Transform), imports)
    line = f"def {name}({', '.join(arguments)}) -> {result}:"
    if len(line) > WIDTH:
        line = "\n".join([f"def {name}(", *(f"    {x}," for x in arguments), f") -> {result}:"])
    return f"{line}\n{_docstring(inspect.getdoc(function) or '')}"


def argument(parameter: inspect.Parameter, hint: Any, imports: Imports) -> str:
    """One argument with its type and its default."""
    typed = f"{parameter.name}: {text(hint, imports)}"
    if parameter.default is parameter.empty:
        return typed
    return f"{typed} = {_default(parameter.default)}"


def _default(x: Any) -> str:
    """A default as it is written; what has no short form is left to the docstring."""
    if isinstance(x, str):
        return json.dumps(x)  # with the quotes that ruff writes
    if x is None or isinstance(x, (bool, int)) or (isinstance(x, float) and math.isfinite(x)):
        return repr(x)
    if isinstance(x, tuple) and all(isinstance(item, float) for item in x):
        return repr(x)
    name = getattr(x, "__name__", "")
    return name if getattr(optchain, name, None) is x else "..."


def _docstring(doc: str) -> str:
    quotes = 'r"""' if "\\" in doc else '"""'
    body = "\n".join(f"    {line}".rstrip() for line in doc.splitlines()).strip()
    # A closing line of its own where there are several, as in the sources.
    return f'    {quotes}{body}"""' if "\n" not in body else f'    {quotes}{body}\n    """'


def _import_blocks(imports: Imports, exported: list[str]) -> Iterator[str]:
    """The imports in the order that ruff sorts them in: the standard library's, others', optchain's."""
    internal = {module: names for module, names in imports.items() if module.startswith("optchain")}
    standard = sorted(module for module in imports if module and module not in internal)
    if standard:
        yield "\n".join(_import(module, imports[module]) for module in standard)
    if "" in imports:
        yield "\n".join(f"import {module}" for module in sorted(imports[""]))
    ours = [*exported, *(_import(module, names) for module, names in internal.items())]
    yield "\n".join(sorted(ours, key=lambda line: line.split()[1:]))


def _import(module: str, names: set[str]) -> str:
    return f"from {module} import {', '.join(sorted(names))}"


if __name__ == "__main__":
    STUB.write_text(written())
