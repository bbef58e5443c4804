"""The table that `print(tx)` shows: one row for each definition within, by the prefix of its numbers' names."""

import dataclasses
import functools
import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from optchain.core.transform import definition_of
from optchain.core.walk import walk

HEADER = ("link", "technique", "hyperparameters", "slots", "bytes/param")
SIDE = 128  # of the matrix that bytes are measured on
IN_CODES = ("codes", "scales")  # what holds a slot that is stored in a code
WIDTH = 120  # columns of the table
NARROWEST = 16  # a cell is not broken into narrower parts
HIDDEN_IF_EMPTY = ("mask", "layers", "views", "storage")
HIDDEN = ("rule", "name", "links", "rules", "inner")  # fields with rows of their own, or none


def table(tx: Any) -> str:
    """A plain text table of a transformation: a row for each technique and wrapper within."""
    rows = [_row(prefix, inner) for prefix, inner in walk(tx) if not is_only_links(inner)]
    return aligned([HEADER, *rows])


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows as plain text in columns, the first one as the header; the longest column wraps where a line is too long."""
    lines = in_columns(_wrapped(rows))
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, with the cells of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shown(value: Any) -> str:
    """A value as short as it can be read."""
    if isinstance(value, Tracer):
        return "traced"
    if isinstance(value, jax.Array) and (value.ndim or jnp.issubdtype(value.dtype, jax.dtypes.prng_key)):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (float, jax.Array)):
        return f"{float(value):g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(x)}" for key, x in value.items()) + "}"
    if isinstance(value, (list, tuple)) and any(callable(x) or isinstance(x, dict) for x in value):
        return "(" + ", ".join(map(shown, value)) + ",)"
    if isinstance(value, functools.partial):
        return shown(value.func)
    if isinstance(value, (str, int)) or value is None or not callable(value):
        return str(value)
    return getattr(value, "__name__", str(value))


def written(value: Any) -> str:
    """A value as `repr` writes it, but for functions, which are written by their names, without addresses."""
    if isinstance(value, optax.GradientTransformation):
        link = definition_of(value)
        return technique(value) if link is None else repr(link)
    kind: Any = type(value)
    if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.repr:  # pyright: ignore
        fields = [f"{field.name}={written(getattr(value, field.name))}" for field in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {written(x)}" for key, x in value.items()) + "}"
    if kind in (list, tuple):
        inside = ", ".join(map(written, value)) + ("," if len(value) == 1 and kind is tuple else "")
        return f"[{inside}]" if kind is list else f"({inside})"
    if isinstance(value, functools.partial):
        named = [f"{name}={written(x)}" for name, x in value.keywords.items()]
        return f"partial({', '.join([*map(written, (value.func, *value.args)), *named])})"
    return getattr(value, "__name__", type(value).__name__) if " at 0x" in repr(value) else repr(value)


def technique(tx: Any) -> str:
    """The name of what a transformation does; that of one of optax is that of the function that made it."""
    if not isinstance(tx, optax.GradientTransformation):
        return f"optax.{type(tx).__name__}"
    link = definition_of(tx)
    return link.name if link is not None else f"{tx.update.__module__.split('.')[0]}.{maker(tx)}"


def maker(tx: Any) -> str:
    """The name of the function that made a transformation of optax."""
    return tx.update.__qualname__.split(".")[0]


def _wrapped(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows with the cells of the widest columns broken over several lines, so that a line fits."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        lines += itertools.zip_longest(*parts, fillvalue="")
    return lines


def is_only_links(tx: Any) -> bool:
    """Whether this has no row of its own: a chain, which is its links."""
    link = definition_of(tx)
    return link is not None and bool(link.children()) and "" not in link.children()


def _row(prefix: str, tx: Any) -> tuple[str, ...]:
    link = definition_of(tx)
    if link is None:
        return prefix or maker_or_type(tx), technique(tx), "", *_slots(tx.init, None)
    return prefix or link.name, link.name, _fields(link), *_own_slots(link)


def maker_or_type(tx: Any) -> str:
    """The name of a transformation of optax that stands alone."""
    return technique(tx).partition(".")[2]


def values_of(link: Any) -> dict[str, Any]:
    """The arguments of a definition and of its rule by name, without what has rows of its own."""
    arguments = {field.name: getattr(link, field.name) for field in dataclasses.fields(link)}
    rule = arguments.get("rule")
    numbers = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)} if rule is not None else {}
    return {name: x for name, x in (numbers | arguments).items() if name not in HIDDEN and not _is_transformation(x)}


def _fields(link: Any) -> str:
    """The arguments of a definition and of its rule, without what has rows of its own and what is left out."""
    fields = values_of(link)
    texts = {name: shown(x) for name, x in fields.items() if name not in HIDDEN_IF_EMPTY or x not in (None, {})}
    return " ".join(f"{name}={text}" for name, text in texts.items() if text or name not in HIDDEN_IF_EMPTY)


def _is_transformation(x: Any) -> bool:
    return isinstance(x, optax.GradientTransformation)


def _own_slots(link: Any) -> tuple[str, str]:
    """The slots of a definition, without those of what stands within it, which has rows of its own."""
    fields = {field.name: getattr(link, field.name) for field in dataclasses.fields(link)}
    changes: dict[str, Any] = dict.fromkeys(fields.keys() & {"mask", "layers"})
    if "storage" in fields:
        changes["storage"] = fields["storage"].bare()  # the matrix is stored as large leaves of any name are
    bare = dataclasses.replace(link, **changes)
    # Where children stand within, only the own arrays are asked for: they may know just the leaves of their own model.
    return _slots(bare.begin if link.children() else bare.start, link.name if not link.children() else None)


def _slots(start: Any, key: str | None) -> tuple[str, str]:
    """Names of the slots and their bytes for each parameter, measured on one float32 matrix."""
    try:
        state = jax.eval_shape(start, {"w": jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)})
    except (TypeError, ValueError, KeyError, AttributeError):
        return "?", "?"  # it knows only the leaves of its own model
    slots = [(path, x) for path, x in jax.tree.leaves_with_path(state if key is None else state[key]) if x.ndim]
    names = [
        [str(getattr(key, "name", getattr(key, "key", ""))) for key in path if str(getattr(key, "key", "")) != "w"]
        for path, _ in slots
    ]
    size = sum(np.prod(x.shape) * x.dtype.itemsize for _, x in slots) / SIDE**2
    names = [[key for key in keys if key not in IN_CODES] for keys in names]
    return " ".join(dict.fromkeys(keys[-1] for keys in names if keys)), f"{size:g}"
