"""Examples as a task gives them: before they are split, prepared and ordered."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.standalone.columns import Columns
from optchain.lab.data.standalone.texts import Texts


class Reader(NamedTuple):
    """What reads raw inputs, where they are no arrays."""

    read: Callable[[Path], Any]  # those in a file
    encode: Columns | Texts  # those in memory: columns by name, or texts

    def __call__(self, path: Path) -> Any:
        return self.read(path)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs and what is to be said of them, one row for each example.

    Args:
        inputs: an array, or a dict or tuple of arrays (which may hold more of them), the same number of rows in each.
            Real numbers may be NaN where one is missing; whole numbers (ids, bytes) are left as they are.
        targets: an array with as many rows; of numbers, or of classes: whole numbers, booleans or strings. Or a dict of
            such arrays by name, each of which is learned as a task of its own, and answered by a head of the model.
        labels: the names of the classes, whose numbers from 0 the targets then are. Without them the classes are the
            values that the training targets have, in their order. Of several targets a dict, by target.
        names: of the targets, which answers are called by; those of a dict have theirs.
        columns: names of the inputs, if these are rows of numbers.
        place: where a row stands in the user's data, for errors: by its number, if left out.
        weights: of each example in the loss; 1 where left out.
        groups: a number or string for each example; those with the same one are never split.
        order: a number for each example, such as its time: what is held out are then the last ones.
        stratify: whether each class is to be as often in every split, where the targets are classes.
        split: `"train"`, `"validation"` or `"test"` for each example, where the data say so themselves.
        loss: the name of the built-in loss that a configuration without `[loss]` takes; by the targets if left out:
            `cross_entropy` of classes, `squared` of real numbers.
        outputs: numbers that a model answers; by the targets if left out.
        scale: whether real targets are divided by the deviation of the training targets, after their mean was
            subtracted. Scores and answers are in the targets' own units all the same.
        first: steps that prepare inputs in any case, before those of the configuration.
        steps: steps that prepare inputs where the configuration names none; None if no step applies.
        read: raw inputs from a file of the user's, as `predict` takes them.
        ids: how many there are, where the inputs are numbers of ids.
        optimum: of the loss, from the prepared inputs and the targets of training, where it is known.
    """

    inputs: Any
    targets: Any
    labels: Any = None  # a sequence, or of several targets a dict of them
    names: tuple[str, ...] = ()
    columns: Sequence[str] = ()
    place: Callable[[int], str] = "row {} (from 0)".format
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    order: np.ndarray | None = None
    stratify: bool = True
    split: np.ndarray | None = None
    loss: str | None = None
    outputs: int | None = None
    scale: bool = False
    first: dict[str, Step] = dataclasses.field(default_factory=dict)
    steps: dict[str, Step] | None = dataclasses.field(default_factory=dict)
    read: Callable[[Path], Any] | None = None
    ids: int | None = None
    optimum: Callable[[np.ndarray, np.ndarray], float] | None = None

    def __post_init__(self) -> None:
        arrays = {f"inputs{jax.tree_util.keystr(path)}": x for path, x in jax.tree.leaves_with_path(self.inputs)}
        arrays |= {f"targets{jax.tree_util.keystr(path)}": x for path, x in jax.tree.leaves_with_path(self.targets)}
        arrays |= {
            name: x for name in ("weights", "groups", "order", "split") if (x := getattr(self, name)) is not None
        }
        sizes = {name: len(x) if np.ndim(x) else None for name, x in arrays.items()}
        if len(set(sizes.values())) > 1 or None in sizes.values():
            said = ", ".join(f"{name} has {'no' if size is None else size} rows" for name, size in sizes.items())
            raise InputError(f"task: {said}; expected as many rows in each")

    def __len__(self) -> int:
        return len(next(iter(self.targets.values()))) if isinstance(self.targets, dict) else len(self.targets)


@runtime_checkable
class Source(Protocol):
    """What has examples, such as a format of data, or a class of the user's."""

    def load(self) -> Examples:
        """The examples."""
        ...
