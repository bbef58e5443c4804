"""Arrays of the user's as a task."""

import dataclasses
from typing import Any

from optchain.lab.data.examples import Examples


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Examples that are in memory, and how many of them are held out.

    Args:
        inputs: an array, or a dict or tuple of arrays, one row for each example. Real numbers may be NaN where one is
            missing, if a step of `preprocess` fills them.
        targets: numbers, or classes: whole numbers, booleans or strings.
        validation: how many examples judge the model while it is made: a number, or a fraction of all.
        test: how many judge it at its end.
        seed: of the split.
        folds: parts of what is not for the test, one of which validates, and `fold`, which it is.
        stratify: whether each class is as often in every split; where the targets are classes if left out.
        more: other fields of `Examples` by name, such as `labels`, `weights`, `groups` or `order`.
    """

    inputs: Any
    targets: Any
    _: dataclasses.KW_ONLY
    validation: int | float = 0
    test: int | float = 0
    seed: int = 0
    folds: int | None = None
    fold: int | None = None
    stratify: bool | None = None
    more: dict[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> Examples:
        """The examples."""
        return Examples(self.inputs, self.targets, **self.more)

    @property
    def held_out(self) -> dict[str, Any]:
        """What the table `[task]` says of them."""
        names = ("validation", "test", "seed", "folds", "fold", "stratify")
        return {name: getattr(self, name) for name in names}
