"""The loss that a configuration and the data together ask for, and whether targets become numbers of classes for it."""

from typing import Any

import numpy as np

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.heads import of_head, require_heads
from optchain.lab.data.numbers import are_classes
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.stream import Stream
from optchain.lab.models.class_losses import OfClasses
from optchain.lab.models.losses import LOSSES, Heads, OfData
from optchain.lab.settings.own import Own

OF_ALL = ("mixup", "cutmix", "l1", "l2")  # changes that are made of all targets together


def resolved(table: Any, examples: Examples | Stream) -> Any:
    """The table of the loss that is meant, where the data are to say it.

    Raises:
        InputError: a loss of one target for several, or the other way around.
    """
    several = isinstance(examples.targets, dict)
    if isinstance(table, OfData) and several:
        table = Heads.model_validate(table.model_dump() | {"use": "heads"})
    if isinstance(table, Heads):
        return _with_all_heads(table, examples)
    if several and not isinstance(table, Own):
        cure = "expected 'heads', with a loss for each, or one of your own"
        raise InputError(f"loss.use: got {table.use!r} for several targets, {', '.join(examples.targets)}; {cure}")
    if not isinstance(table, OfData):
        return table
    name = examples.loss or ("cross_entropy" if are_classes(examples) else "squared")
    return LOSSES[name].model_validate(table.model_dump() | {"use": name})


def _with_all_heads(table: Heads, examples: Examples | Stream) -> Heads:
    """The table with the loss of each target, in the order of the data."""
    if not isinstance(examples.targets, dict):
        raise InputError("loss.use: got 'heads', and the task has one target; expected a dict of targets by name")
    if isinstance(examples, Stream):
        raise InputError("loss.use: got 'heads' for a Stream; expected a loss of your own that names its tasks")
    require_heads(examples)
    for key in ("heads", "weights"):
        for name in getattr(table, key):
            if name not in examples.targets:
                raise InputError(f"loss.{key}.{name}: no such target; {nearest(name, examples.targets)}")
    heads = {}
    for name in examples.targets:
        own = heads[name] = resolved(table.heads.get(name, OfData()), of_head(examples, name))
        wrong = [key for key in OF_ALL if getattr(own, key) is not None]
        if wrong:
            raise InputError(f"loss.heads.{name}.{wrong[0]}: is of all targets together; expected loss.{wrong[0]}")
        if own.named:
            raise InputError(f"loss.heads.{name}.tasks: the loss of one target has no tasks; leave it out")
    return table.model_copy(update={"heads": heads})


def of_classes(table: Any, examples: Examples | Stream) -> bool | dict[str, bool]:
    """Whether the targets become numbers of classes for a loss; of several targets for each.

    Those of a function of the user's stay as they are where they are whole numbers that are no classes' from 0 on.
    """
    if isinstance(examples.targets, dict) and isinstance(examples, Examples):
        require_heads(examples)
        tables = table.heads if isinstance(table, Heads) else dict.fromkeys(examples.targets, table)
        return {name: _of_classes(tables[name], of_head(examples, name)) for name in examples.targets}
    return _of_classes(table, examples)


def _of_classes(table: Any, examples: Examples | Stream) -> bool:
    if not isinstance(table, Own):
        wanted, named = isinstance(table, OfClasses), examples.labels is not None
        kind = "" if named else np.asarray(examples.targets).dtype.kind
        if not wanted and (named or kind in "OSUb"):
            raise InputError(f"loss.use: got {table.use!r}, but the targets are classes; expected 'cross_entropy'")
        if wanted and kind == "f" and not np.all(np.mod(examples.targets, 1) == 0):
            raise InputError(f"loss.use: got {table.use!r}, but the targets are real numbers; expected 'squared'")
        return wanted
    if isinstance(examples.targets, FileArray):  # which are numbers of labels
        return True
    targets = np.asarray(examples.targets)
    if targets.dtype.kind in "iu":
        return bool(np.array_equal(np.unique(targets), np.arange(targets.max() + 1)))
    return are_classes(examples)
