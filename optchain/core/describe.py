"""The table that `print(tx)` shows: one row for each link."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

HEADER = ("link", "technique", "hyperparameters", "slots", "bytes/param")


def table(link: Any) -> str:
    """A plain text table of a chain's links, nested ones by their dotted names, or of one link."""
    return aligned([HEADER, *_rows("", link.name, link)])


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows as plain text in columns, the first one as the header."""
    lines = in_columns(rows)
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, with the cells of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rows(prefix: str, label: str, link: Any) -> list[tuple[str, ...]]:
    """The rows of a link: those of a chain's links, or its own and those of what it wraps, under the same prefix."""
    if hasattr(link, "links"):
        return [row for name, tx in link.links for row in _rows(f"{prefix}{name}.", f"{prefix}{name}", _definition(tx))]
    own = _row(label, link)
    if not hasattr(link, "inner"):
        return [own]
    inner = _definition(link.inner)
    wrapped = _rows(prefix, f"{prefix}{getattr(inner, 'name', 'inner')}", inner)
    others = [(f"{prefix}{name}", _definition(tx)) for name, tx in getattr(link, "others", {}).items()]
    return [own, *wrapped, *(row for label, other in others for row in _rows(f"{label}.", label, other))]


def _definition(tx: Any) -> Any:
    return getattr(tx, "link", tx)


def _row(name: str, link: Any) -> tuple[str, ...]:
    return (name, _technique(link), _hyperparameters(link), *_slots(link))


def _technique(link: Any) -> str:
    if hasattr(link, "name"):
        return link.name
    module, maker = link.update.__module__.split(".")[0], link.update.__qualname__.split(".")[0]
    return f"{module}.{maker}"


def _hyperparameters(link: Any) -> str:
    owners = [getattr(link, "rule", None), link]
    fields = {name: getattr(x, name) for x in owners for name in getattr(x, "__dataclass_fields__", ())}
    hidden = [("mask", None), ("layers", None), ("views", {})]
    fields = {
        name: x
        for name, x in fields.items()
        if name not in ("rule", "name", "inner", "law") and (name, x) not in hidden and not hasattr(x, "init")
    }
    return " ".join(f"{name}={shown(value)}" for name, value in fields.items())


def shown(value: Any) -> str:
    """A value as short as it can be read."""
    if isinstance(value, Tracer):
        return "traced"
    if isinstance(value, jax.Array) and value.ndim:
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (float, jax.Array)):
        return f"{float(value):g}"
    if isinstance(value, (str, int, list, tuple)) or value is None or not callable(value):
        return str(value)
    return getattr(value, "__name__", str(value))


def _slots(link: Any) -> tuple[str, str]:
    """Names of the slots and their bytes for each parameter, measured on one float32 matrix."""
    if hasattr(link, "rules"):
        return "", "0"  # groups hold nothing of their own, and know only the leaves of their own model
    if getattr(link, "mask", None) is not None:
        link = dataclasses.replace(link, mask=None)
    if getattr(link, "layers", None) is not None:
        link = dataclasses.replace(link, layers=None)
    try:
        state = jax.eval_shape(lambda p: _own(link.init(p)), {"w": jax.ShapeDtypeStruct((32, 32), jnp.float32)})
    except (TypeError, ValueError, KeyError, AttributeError):
        return "?", "?"  # a mask or a wrapper that knows only the leaves of its own model
    slots = [(path, x) for path, x in jax.tree.leaves_with_path(state) if x.ndim]
    names = [
        [str(getattr(key, "name", getattr(key, "key", ""))) for key in path if str(getattr(key, "key", "")) != "w"]
        for path, _ in slots
    ]
    size = sum(x.size * x.dtype.itemsize for _, x in slots) / 32**2
    return " ".join(dict.fromkeys(keys[-1] for keys in names if keys)), f"{size:g}"


def _own(state: Any) -> Any:
    """The state of a wrapper without that of what it wraps, which has rows of its own."""
    return (
        {name: x for name, x in state.items() if name not in ("inner", "others")} if isinstance(state, dict) else state
    )
