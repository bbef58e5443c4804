"""Which examples are trained on, which validate and which test: by a seed of their own, by groups or by their order."""

from typing import Any

import jax
import numpy as np
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, StratifiedKFold, train_test_split

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.tables import TaskTable

NAMES = ("train", "validation", "test")


def split(examples: Examples, targets: Any, table: TaskTable, stratify: bool) -> dict[str, np.ndarray]:
    """The rows of each split that is not empty. The test split depends on the seed and its own size only.

    Args:
        examples: with their groups, their order or their own split, if any.
        targets: as numbers.
        table: how many are held out.
        stratify: whether the targets are classes, each of which is to be as often in every split unless the table says
            otherwise.

    Raises:
        InputError: there are too few examples, or the table contradicts the data.
    """
    if examples.split is not None:
        return _given(examples.split, table)
    if table.stratify is not None:
        if table.stratify and not stratify:
            raise InputError("task.stratify: the targets are no classes")
        stratify = table.stratify
    ways = [name for name in ("groups", "order") if getattr(examples, name) is not None]
    if len(ways) > 1 or (ways and table.stratify):
        raise InputError(f"task: {ways[0]} and {(ways + ['stratify'])[1]} exclude each other")
    rest, rows = np.arange(len(examples)), {}
    for name in ("test", "validation"):
        if name == "validation" and table.folds:
            rest, rows[name] = _fold(rest, examples, targets, table, stratify)
            continue
        held = getattr(table, name)
        count = round(held * len(examples)) if isinstance(held, float) else held
        if count:
            try:
                rest, rows[name] = _held_out(rest, count, examples, targets, table.seed, stratify)
            except ValueError as error:
                raise InputError(f"task.{name}: {count} of {len(examples)} examples: {error}") from None
        elif held:
            raise InputError(f"task.{name}: {held:g} of {len(examples)} examples is less than one")
    rows = {"train": rest, **rows}
    return {name: rows[name] for name in NAMES if name in rows}


def _given(named: np.ndarray, table: TaskTable) -> dict[str, np.ndarray]:
    """The split that the data have themselves."""
    said = [name for name in ("validation", "test", "folds", "stratify") if getattr(table, name)]
    if said:
        raise InputError(f"task.{said[0]}: the data say themselves which examples are held out; leave it out")
    named = np.asarray(named).astype(str)
    unknown = sorted(set(named) - set(NAMES))
    if unknown:
        row = int(np.flatnonzero(named == unknown[0])[0]) + 1
        raise InputError(f"task: example {row} is of split {unknown[0]!r}; expected one of {', '.join(NAMES)}")
    rows = {name: np.flatnonzero(named == name) for name in NAMES}
    if not len(rows["train"]):
        raise InputError("task: no example is of split 'train'")
    return {name: at for name, at in rows.items() if len(at)}


def _held_out(
    rows: np.ndarray, count: int, examples: Examples, targets: Any, seed: int, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are left, and those that are held out."""
    if count >= len(rows):
        raise ValueError(f"of {len(rows)} that are left, none would be trained on")
    if examples.order is not None:
        sorted_rows = rows[np.argsort(np.asarray(examples.order)[rows], kind="stable")]
        return sorted_rows[:-count], sorted_rows[-count:]
    if examples.groups is not None:
        groups = np.unique(np.asarray(examples.groups)[rows], return_inverse=True)[1]
        parts = GroupShuffleSplit(1, test_size=count / len(rows), random_state=seed).split(rows, groups=groups)
        left, held = next(iter(parts))
        return rows[left], rows[held]
    classes = targets[rows] if stratify else None
    left, held = map(np.asarray, train_test_split(rows, test_size=count, random_state=seed, stratify=classes))
    return left, held


def _fold(
    rows: np.ndarray, examples: Examples, targets: Any, table: TaskTable, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are trained on and those that validate, when the rows are cut into parts of the same size."""
    folds, seed = table.folds or 2, table.seed
    if examples.order is not None:
        raise InputError("task.folds: the examples are in an order, of which the last validate; leave folds out")
    groups = None
    if examples.groups is not None:
        groups, kind = np.asarray(examples.groups)[rows], GroupKFold(folds, shuffle=True, random_state=seed)
    elif stratify:
        kind = StratifiedKFold(folds, shuffle=True, random_state=seed)
    else:
        kind = KFold(folds, shuffle=True, random_state=seed)
    try:
        cuts = list(kind.split(rows, targets[rows] if stratify else None, groups))
    except ValueError as error:
        raise InputError(f"task.folds: {folds} of {len(rows)} examples: {error}") from None
    train, validation = cuts[table.fold or 0]
    return rows[train], rows[validation]


def require_varied(targets: Any, examples: Examples, rows: np.ndarray) -> None:
    """The targets of the training examples differ.

    Raises:
        InputError: there is nothing to learn from them.
    """
    values = jax.tree.leaves(targets)
    if len(rows) and all(np.all(x == x.flat[0]) for x in values):
        target = np.asarray(examples.targets)[rows[0]] if not isinstance(examples.targets, dict) else values[0].flat[0]
        one = "there is one training example, with"
        there = one if len(rows) == 1 else f"all {len(rows)} training examples have"
        cure = "hold out fewer examples, or check the targets"
        raise InputError(f"task: {there} the target {target}, so there is nothing to learn; {cure}")
