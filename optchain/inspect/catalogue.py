"""The full optimizers at a glance."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.describe import aligned
from optchain.core.registry import registered
from optchain.core.rule import core_of
from optchain.core.runner import Runner
from optchain.core.transform import definition_of
from optchain.inspect.config import techniques
from optchain.presets.line_search import Borrowed

GENERIC = ("WeightDecay", "LearningRate", "Scale")
LOOKS_ACROSS = {0: "entry", 1: "row", 2: "matrix", None: "array"}
EXAMPLE = {"blocks": {"kernel": jax.ShapeDtypeStruct((64, 64), jnp.float32)}}


@dataclasses.dataclass(frozen=True)
class Row:
    """One optimizer.

    `slots` is the size of its state for each parameter, in numbers, measured on a square matrix; `looks_across` is the
    largest part of a parameter that one entry of the update depends on; `paper` is the reference of its main technique.
    """

    name: str
    links: tuple[str, ...]
    slots: float
    looks_across: str
    paper: str


class Catalogue(tuple[Row, ...]):
    """Rows by name; printed it is a table."""

    def __str__(self) -> str:
        header = ("optimizer", "links", "slots/param", "looks across", "paper")
        lines = [(row.name, ", ".join(row.links), f"{row.slots:.3g}", row.looks_across, row.paper) for row in self]
        return aligned([header, *lines])


def optimizers() -> Catalogue:
    """All full optimizers of optchain's: their links, the size of their state, what they look across, their paper.

    >>> import optchain as oc
    >>> [(row.slots, row.paper) for row in oc.optimizers() if row.name == "adamw"]
    [(2.0, 'arXiv:1412.6980')]
    """
    made = {name: make for name, make in techniques().items() if make.__module__.startswith("optchain.presets")}
    return Catalogue(_row(name, make) for name, make in sorted(made.items()))


def _row(name: str, make: Any) -> Row:
    tx = make(**registered()[name].example)
    rules, children = rules_of(tx), tx.link.children()
    links = (tx.link.name,) if "" in children else tuple(children) or (tx.link.name,)
    # What every optimizer may have is not what it is: decay and rate count only where there is nothing else.
    ranking = sorted(rules, key=lambda rule: type(rule).__name__ in GENERIC)
    papers = [reference for x in (make, *map(type, ranking)) if (reference := paper(x.__doc__ or ""))]
    return Row(name, links, round(slots(tx), 3), looks_across(tx), papers[0] if papers else "")


def slots(tx: optax.GradientTransformation) -> float:
    """The numbers in the state for each parameter, of a square matrix."""
    state = jax.eval_shape(tx.init, EXAMPLE)
    return sum(x.size for x in jax.tree.leaves(state) if x.ndim) / 64**2


def rules_of(tx: Any) -> list[Any]:
    """The rules of a transformation's links, without those that stand beside them."""
    return [link.rule for link in links_of(tx) if isinstance(link, Runner)]


def links_of(tx: Any) -> list[Any]:
    """The definitions of the links that make the update of a transformation; those of optax have none."""
    link = definition_of(tx)
    if link is None:
        return []
    children = link.children()
    inner = [children[""]] if "" in children else list(children.values())
    return [definition for child in inner for definition in links_of(child)] if children else [link]


def looks_across(tx: Any) -> str:
    """The largest part of a parameter that one entry of the update depends on."""
    links = links_of(tx)
    cores = {core_of(link.rule, 2) for link in links if isinstance(link, Runner)}
    # What is no rule of ours is a number for all entries, unless it is a search through all of them.
    cores |= {None for link in links if isinstance(link, Borrowed)}
    return LOOKS_ACROSS[next((core for core in (None, 2, 1) if core in cores), 0)]


def paper(doc: str) -> str:
    """The first reference of a docstring: its number, or its authors and year."""
    reference = doc.partition("References:")[2].strip().splitlines()
    if not reference:
        return ""
    match = re.search(r"arxiv\.org/abs/(\d{4}\.\d{4,5})", reference[0])
    return f"arXiv:{match[1]}" if match else re.match(r".*?\d{4}|.*", reference[0])[0]  # pyright: ignore
