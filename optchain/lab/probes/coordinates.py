"""The coordinate check: how much training changes what a model's modules answer, at several widths.

References:
    Yang et al., 2022, Appendix D.1 and Figure 5, arXiv:2203.03466.
"""

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.core import Tracer
from matplotlib.axes import Axes

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken, naming
from optchain.lab.reports.charts import COLORS, logarithmic, svg
from optchain.lab.reports.page import page_of, table, write_page
from optchain.lab.runs.config import Config
from optchain.lab.training.experiment import Experiment, build
from optchain.lab.training.program import Program

EXAMPLES = 64  # of the training data, on which modules answer before and after
OUTPUTS = "outputs"


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """What some steps change, by module and width.

    Attributes:
        steps: how many steps were made.
        changes: for each module of linen by path, and for the model's `outputs`, the mean absolute change of an entry
            of what it answers, by width; a mean over seeds.
    """

    steps: int
    changes: dict[str, dict[int, float]]

    @property
    def slopes(self) -> dict[str, float]:
        """The slope of the logarithm of each change against that of the width: 0 where it does not depend on width."""
        return {
            name: float(np.polyfit(np.log(list(sizes)), np.log(list(sizes.values())), 1)[0])
            for name, sizes in self.changes.items()
        }

    def draw(self, axes: Axes) -> None:
        """Draw the changes against the width on axes of matplotlib, both logarithmic."""
        for i, (name, sizes) in enumerate(self.changes.items()):
            style = "-" if i < len(COLORS) else "--"
            axes.plot(list(sizes), list(sizes.values()), style, marker="o", color=COLORS[i % len(COLORS)], label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(self._widths, [str(width) for width in self._widths])
        logarithmic(axes)
        axes.legend(fontsize=8)

    def write(self, folder: Path | str) -> Path:
        """Write `coordinates.csv` and `report.html` in a folder; the path of the report.

        Raises:
            InputError: the folder holds something else.
        """
        folder = Path(folder)
        path = folder / "coordinates.csv"
        if is_taken(folder) and not path.exists():
            raise InputError(f"{folder} exists and does not contain a coordinate check; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {"module": name, "slope": f"{self.slopes[name]:.2f}", **{str(w): f"{x:.4g}" for w, x in sizes.items()}}
            for name, sizes in self.changes.items()
        ]
        with naming(path), path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["module", "slope", *map(str, self._widths)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        title = f"Mean absolute change after {self.steps} steps"
        figure = svg(title, "width", self.draw, (11.2, 5.2))
        write_page(
            folder / "report.html", page_of("Coordinate check", [f'<div class="chart">{figure}</div>', table(rows)])
        )
        return folder / "report.html"

    @property
    def _widths(self) -> list[int]:
        return list(next(iter(self.changes.values())))


def check(configs: Mapping[int, Config], steps: int, seeds: int, source: str) -> Coordinates:
    """Train a configuration for some steps at each width, and see what that changes.

    Args:
        configs: the configuration by width.
        steps: of training.
        seeds: runs at each width, over which means are taken.
        source: of the configurations, to name in errors.

    Raises:
        InputError: a configuration that does not fit together, modules that not all widths have, or what has diverged.
    """
    found: dict[int, dict[str, float]] = {}
    for width, config in configs.items():
        say(f"width {width}: compiling, then {seeds} x {steps} steps")
        built = build(config, source)
        program = Program(built)
        runs = [_changes(built, program, config.train.seed + i, steps) for i in range(seeds)]
        found[width] = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    names = {width: list(changes) for width, changes in found.items()}
    first, *others = names
    for width in others:
        for name in {*names[first]} ^ {*names[width]}:
            raise InputError(f"{source}: {name!r} is a module at one of the widths {first} and {width} only")
    for width, changes in found.items():
        for name, x in changes.items():
            if not np.isfinite(x) or x == 0:
                cure = "a lower learning rate" if x else "a module that training changes"
                raise InputError(f"{source}: the change of {name!r} at width {width} is {x:g}; expected {cure}")
    return Coordinates(steps, {name: {width: found[width][name] for width in found} for name in names[first]})


def _changes(built: Experiment, program: Program, seed: int, steps: int) -> dict[str, float]:
    """The mean absolute change of each module's answers in one run."""
    config = built.config.model_copy(update={"train": built.config.train.model_copy(update={"seed": seed})})
    carry = program.start(config)
    before = answers(built, carry)
    carry, _, _ = program.run(config, carry, steps)
    after = answers(built, carry)
    # What is the same in both, such as a module that only hands on the inputs, is nothing that is trained.
    sizes = {name: float(np.mean(np.abs(after[name] - before[name]))) for name in before}
    return {name: x for name, x in sizes.items() if x or name == OUTPUTS}


def answers(built: Experiment, carry: Any) -> dict[str, np.ndarray]:
    """What the modules of linen answer to some training examples, by path, and the outputs of any model."""
    inputs = jax.tree.map(lambda x: x[:EXAMPLES], built.task.splits["train"].inputs)
    found: dict[str, np.ndarray] = {}

    def seen(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        answer = call(*args, **kwargs)
        # Outside of compiled code these are arrays, but not within layers that are scanned.
        if context.method_name == "__call__" and isinstance(answer, jax.Array) and not isinstance(answer, Tracer):
            found["/".join(context.module.path) or OUTPUTS] = np.asarray(answer, np.float32)
        return answer

    with nn.intercept_methods(seen):
        outputs = built.model.apply(carry["params"], carry["rest"], inputs)[0]
    for i, x in enumerate(jax.tree.leaves(outputs)):
        found[OUTPUTS if not i else f"{OUTPUTS} {i}"] = np.asarray(x, np.float32)
    return found
