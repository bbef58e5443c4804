"""The table of parameters and their groups."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.chain import automatic_name
from optchain.core.describe import aligned, shown
from optchain.core.holes import part
from optchain.core.mask import label, select
from optchain.core.paths import names_of
from optchain.core.runner import Runner
from optchain.core.walk import definitions, dotted
from optchain.masking.groups import Groups
from optchain.masking.rules import Group, assign


def group_table(tx: Any, params: Any) -> str:
    """A plain text table: path, shape and group of each parameter, and the numbers that it is stepped with.

    The columns are the learning rate, the weight decay, and each number that some rule has a factor for. A schedule is
    shown with its factor; `-` stands where no link with such a number applies: frozen, or left out by a link's mask.

    Args:
        tx: `groups(...)`, or a chain or wrapper that holds one.
        params: the parameters, arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: no groups in `tx`, or more than one; a parameter or a rule without the other.

    >>> import optchain as oc
    >>> import jax.numpy as jnp
    >>> tx = oc.groups(oc.adamw(1e-3), {"bias": {"weight_decay": 0.0}, "embed": oc.FROZEN, "*": {"learning_rate": 0.1}})
    >>> print(oc.group_table(tx, {"bias": jnp.ones(3), "embed": jnp.ones((9, 2)), "kernel": jnp.ones((2, 3))}))
    path    shape   group           learning_rate  weight_decay
    -----------------------------------------------------------
    bias    (3,)    bias            0.001          0
    embed   (9, 2)  embed (frozen)  -              -
    kernel  (2, 3)  *               0.0001         0.0001
    """
    groups = [link for _, link in definitions(tx) if isinstance(link, Groups)]
    if len(groups) != 1:
        raise ValueError(f"group_table: expected a transformation with one `groups` in it, got {len(groups)} in {tx!r}")
    link = groups[0]
    taken = assign(link.rules, params, link.layers)
    cells = _cells(link, params, taken)
    known = {name for row in cells for name in row}
    columns = [name for name in dict.fromkeys(["learning_rate", "weight_decay", *_factored(link)]) if name in known]
    rows = [("path", "shape", "group", *columns)]
    for path, p, i, row in zip(names_of(params), jax.tree.leaves(params), taken, cells, strict=True):
        numbers = [", ".join(dict.fromkeys(row.get(name, ["-"]))) for name in columns]
        rows.append((path, str(jnp.shape(p)), _group(link.rules[i]), *numbers))
    return aligned(rows)


def _factored(link: Groups) -> list[str]:
    """The own names of the numbers that some rule has a factor for."""
    return [name.rpartition(".")[2] for factors in link.factors for name in factors]


def _cells(link: Groups, params: Any, taken: list[int]) -> list[dict[str, list[str]]]:
    """For each leaf, by their own names, the numbers of all links that apply to it."""
    cells: list[dict[str, list[str]]] = [{} for _ in taken]
    for _, tx, rules in link.members():
        indices = [j for j, i in enumerate(taken) if i in rules]
        tree = part(params, [i in rules for i in taken])
        for prefix, runner in definitions(tx):
            if not isinstance(runner, Runner):
                continue
            for j, applies in zip(indices, select(runner.mask, tree, runner.layers), strict=True):
                factors = link.factors[taken[j]]
                for name, number in runner.numbers.items() if applies else ():
                    factor = factors.get(dotted(prefix, name), 1.0)
                    cells[j].setdefault(name, []).append(_multiplied(number, factor))
    return cells


def _multiplied(number: Any, factor: Any) -> str:
    if callable(number):
        return shown(number) if isinstance(factor, float) and factor == 1 else f"{shown(factor)} * {shown(number)}"
    return shown(number * factor)


def _group(group: Group) -> str:
    if isinstance(group.what, dict):
        return label(group.mask)
    return f"{label(group.mask)} ({group.what if isinstance(group.what, str) else automatic_name(group.what)})"
