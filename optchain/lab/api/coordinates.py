"""`coordinate_check` on configurations."""

from collections.abc import Mapping
from typing import Any

from optchain.lab.api.configuration import Configuration
from optchain.lab.base.errors import InputError
from optchain.lab.probes import coordinates
from optchain.lab.probes.coordinates import Coordinates


def coordinate_check(
    configuration: Configuration, widths: Mapping[int, Mapping[str, Any]], *, steps: int = 5, seeds: int = 3
) -> Coordinates:
    """Train a model at several widths for some steps, and see how much that changes what its modules answer.

    Where the learning rates and the initial sizes follow the width (`[mup]`), these changes do not depend on it: all
    `slopes` of what this gives are near 0. Where they do not, some grow, until training diverges, or vanish.

    Args:
        configuration: of a run; `train.seed` is the first seed.
        widths: what differs, by dotted key, for each width: `{n: {"model.width": n} for n in (64, 128, 256)}`.
        steps: of training.
        seeds: runs at each width, over which means are taken.

    Returns:
        The changes by module and width, with `slopes`, `draw` for `Page.chart`, and `write` for a report.

    Raises:
        InputError: fewer than two widths, a configuration that does not fit together, or one that diverges.
    """
    if len(widths) < 2:
        raise InputError(f"coordinate_check: got {len(widths)} widths; expected at least two")
    configs = {}
    for width, changes in widths.items():
        every = {"train.steps": steps, "train.evaluate_every": steps}
        configs[width] = configuration.changed({**every, **changes}).run_table("coordinate_check")
    return coordinates.check(configs, steps, seeds, configuration.source)
