"""One walk over what a transformation consists of, for whoever must look inside, and its inverse."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from optchain.core.transform import Transform, transform


def walk(tx: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each transformation within one, itself first, with the prefix of its numbers' names."""
    yield prefix, tx
    if isinstance(tx, Transform):
        for name, child in tx.link.children().items():
            yield from walk(child, dotted(prefix, name))


def definitions(tx: Any) -> Iterator[tuple[str, Any]]:
    """The definitions in a walk, with their prefixes; a transformation of optax has none."""
    return ((prefix, inner.link) for prefix, inner in walk(tx) if isinstance(inner, Transform))


def dotted(*names: str) -> str:
    """A dotted name of parts, of which empty ones have none."""
    return ".".join(filter(None, names))


def numbers_of(tx: Any) -> list[str]:
    """The dotted names of all numbers, which `hyper` may override; a transformation of optax has none."""
    return [dotted(prefix, name) for prefix, link in definitions(tx) for name in link.numbers]


def readers(tx: Any, extra: str) -> list[str]:
    """The names of the definitions that read an extra argument of the call, not one that a wrapper gives them."""
    if not isinstance(tx, Transform):
        return []
    link = tx.link
    own = [link.name] if extra in link.reads else []
    children = {} if extra in link.gives else link.children()
    return own + [name for child in children.values() for name in readers(child, extra)]


def main_numbers(tx: Any) -> list[str]:
    """The dotted names of the numbers of the links that make the update, without those that stand beside them."""
    if not isinstance(tx, Transform):
        return []
    children = tx.link.children()
    inner = {"": children[""]} if "" in children else children
    return [
        *tx.link.numbers,
        *(dotted(name, number) for name, child in inner.items() for number in main_numbers(child)),
    ]


def rewritten(tx: Any, change: Callable[[Any], Any]) -> Any:
    """The transformation with every definition in it replaced by what `change` makes of it, inner ones first."""
    if isinstance(tx, Transform):
        return transform(change(rewritten(tx.link, change)))
    if type(tx) is tuple:
        items = tuple(rewritten(item, change) for item in tx)
        return tx if all(a is b for a, b in zip(items, tx, strict=True)) else items
    if not dataclasses.is_dataclass(tx) or isinstance(tx, type):
        return tx
    fields = {field.name: getattr(tx, field.name) for field in dataclasses.fields(tx)}
    changed = {name: new for name, x in fields.items() if (new := rewritten(x, change)) is not x}
    return dataclasses.replace(tx, **changed) if changed else tx
