"""Every schedule, with the arguments of its example."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from experiments.gallery.picture import BLUE, Picture, grid, svg
from optchain.core.registry import SCHEDULE, registered

STEPS = 40  # where the arguments do not say how long it is


def pictures() -> Iterator[Picture]:
    """All schedules in one picture."""
    entries = {name: x for name, x in sorted(registered().items()) if x.kind == SCHEDULE and x.is_builtin}
    figure, axes = grid(len(entries), 5, 2.2, 1.5)
    for one, (name, entry) in zip(axes, entries.items(), strict=True):
        lengths = [x for x in entry.example.values() if isinstance(x, int) and not isinstance(x, bool)]
        steps = np.arange(int(1.3 * max([*lengths, STEPS / 1.3])))
        one.plot(steps, np.asarray(entry.make(**entry.example)(jnp.asarray(steps))), color=BLUE, linewidth=1.4)
        one.set_title(name, fontsize=8, loc="left")
    yield Picture(
        "gallery-schedules",
        "Schedules",
        "Each schedule against the step, with the arguments of the example in its docstring.",
        svg(figure),
    )
