"""What an object is, the same in every process: so that a script that is run again finds what it began."""

import dataclasses
import functools
import hashlib
import inspect
import json
import types
from typing import Any

import jax
import numpy as np

PLAIN = str | bytes | int | float | complex | bool | None | range


def identity(target: Any) -> str:
    """A short hash of an object: of a function its code, constants, defaults, what it closes over and the functions and
    classes of its own module that it names; of a class its methods; of arrays their bytes.

    What functions of other modules do, and values that a function reads from its globals, are not followed.
    """
    described = _described(target, ())
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:12]


def _described(x: Any, above: tuple[int, ...]) -> Any:
    """What is hashed of a value, as nested lists of texts."""
    if isinstance(x, PLAIN):
        return repr(x)
    if id(x) in above:  # it is within itself
        return type(x).__qualname__
    above = (*above, id(x))
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        array = np.ascontiguousarray(x)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(x, functools.partial):
        return ["partial", *(_described(part, above) for part in (x.func, x.args, x.keywords))]
    if isinstance(x, types.MethodType):
        return [_described(x.__func__, above), _described(x.__self__, above)]
    if isinstance(x, types.FunctionType):
        return _function(x, above)
    if isinstance(x, types.CodeType):
        return _code(x, above)
    if isinstance(x, type):
        return _class(x, above)
    if isinstance(x, dict):
        return [[repr(key), _described(value, above)] for key, value in x.items()]
    if isinstance(x, list | tuple):
        return [type(x).__name__, *(_described(value, above) for value in x)]
    if isinstance(x, set | frozenset):
        return ["set", *sorted(json.dumps(_described(value, above)) for value in x)]
    return _instance(x, above)


def _function(x: types.FunctionType, above: tuple[int, ...]) -> Any:
    cells = [cell.cell_contents for cell in x.__closure__ or () if not _is_empty(cell)]
    named = [x.__globals__[name] for name in _names(x.__code__) if name in x.__globals__]
    near = [other for other in named if callable(other) and getattr(other, "__module__", None) == x.__module__]
    parts = (x.__code__, cells, x.__defaults__ or (), x.__kwdefaults__ or {}, near)
    return ["function", *(_described(part, above) for part in parts)]


def _code(x: types.CodeType, above: tuple[int, ...]) -> Any:
    return [x.co_code.hex(), list(x.co_names), [_described(constant, above) for constant in x.co_consts]]


def _class(x: type, above: tuple[int, ...]) -> Any:
    if x.__module__ != "__main__":
        return f"{x.__module__}.{x.__qualname__}"
    own = {name: value for name, value in vars(x).items() if isinstance(value, types.FunctionType | PLAIN)}
    own = {name: value for name, value in own.items() if not name.startswith("__") or name in ("__init__", "__call__")}
    bases = [_described(base, above) for base in x.__bases__]
    # The code of a method that a decorator wraps is that of the method.
    methods = [
        [name, _described(inspect.unwrap(value) if callable(value) else value, above)] for name, value in own.items()
    ]
    return [x.__qualname__, bases, sorted(methods)]


def _instance(x: Any, above: tuple[int, ...]) -> Any:
    fields = (
        {field.name: getattr(x, field.name) for field in dataclasses.fields(x)} if dataclasses.is_dataclass(x) else {}
    )
    return [_described(type(x), above), [[name, _described(value, above)] for name, value in fields.items()]]


def _is_empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is ...
    except ValueError:
        return True


def _names(code: types.CodeType) -> list[str]:
    """The names that a function's code and that of the functions within it read."""
    inner = [name for x in code.co_consts if isinstance(x, types.CodeType) for name in _names(x)]
    return [*code.co_names, *inner]
