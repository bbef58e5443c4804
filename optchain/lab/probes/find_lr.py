"""The learning-rate range test: training with a rate that rises until the loss does.

References:
    Smith, 2015, section 3.3, arXiv:1506.01186.
"""

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optchain.core.paths import nearest
from optchain.core.registry import SCHEDULE, registered
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken, naming
from optchain.lab.reports.charts import COLORS, svg
from optchain.lab.reports.page import card, page_of, tiles, write_page
from optchain.lab.runs.config import Config, with_values
from optchain.lab.settings.load import flat
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.program import Program

CHUNK = 20  # steps compiled as one loop; between two it is seen whether the loss has risen
MEMORY = 0.9  # of the running mean that smooths the loss
RISEN = 4.0  # times the lowest smoothed loss, at which the test ends
SETTLED = 20  # part of the steps in which the running mean of few losses is too noisy to have a slope


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The loss of each batch, and the rate of the step that followed; up to where the loss rose."""

    key: str  # of the rate
    rates: np.ndarray
    losses: np.ndarray
    steps: int  # that were to be made

    @property
    def smoothed(self) -> np.ndarray:
        """The running mean of the losses, without the bias of its start."""
        return smooth(self.losses)

    @property
    def lowest(self) -> float:
        """The rate of the lowest smoothed loss."""
        return float(self.rates[self.smoothed.argmin()])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest against the logarithm of the rate.

        Raises:
            InputError: it does not fall.
        """
        begin, end = self.steps // SETTLED, int(self.smoothed.argmin())
        if end <= begin + 1:
            cure = "try a lower --from, or more --steps"
            raise InputError(f"{self.key}: the loss did not fall between the rates tried; {cure}")
        slopes = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[begin + slopes[begin : end + 1].argmin()])

    @property
    def risen(self) -> bool:
        """Whether the loss rose before all steps were made."""
        return len(self.losses) < self.steps


def smooth(losses: np.ndarray) -> np.ndarray:
    """The running mean of a series, divided by the weight that it has seen."""
    mean, means = 0.0, []
    for t, loss in enumerate(losses, 1):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        means.append(mean / (1 - MEMORY**t))
    return np.asarray(means)


def rate_of(config: Config, key: str | None) -> str:
    """The dotted key of the rate to be swept: the one that is named or, where it is part of a schedule, the schedule.

    Raises:
        InputError: there is no such number, or none is named and the optimizer has none or several.
    """
    if key is None:
        rates = _rates(config.optimizer, "optimizer")
        if len(rates) != 1:
            what = f"has several: {', '.join(rates)}" if rates else "has no learning_rate and no schedule as a link"
            raise InputError(f"the optimizer {what}; name the rate with --key")
        return rates[0]
    values = flat(config.model_dump())
    if key not in values or not key.startswith("optimizer."):
        names = [name for name in values if name.startswith("optimizer.")]
        raise InputError(f"--key {key}: the configuration has no such number; {nearest(key, names)}")
    parts, inner = key.split("."), config.optimizer
    for depth, name in enumerate(parts[1:], 2):
        inner = inner[name]
        if _is_schedule(inner):
            return ".".join(parts[:depth])
    if type(inner) not in (int, float):
        raise InputError(f"--key {key}: got {inner!r}; expected a number or a part of a schedule")
    return key


def with_sweep(config: Config, key: str, low: float, high: float, steps: int) -> Config:
    """The configuration with a rate that rises exponentially from the first step to the last."""
    configured = flat(config.model_dump()).get(key)
    sign = -1 if isinstance(configured, (int, float)) and configured < 0 else 1  # what descends shall go on to descend
    rising = {"use": "exponential", "start": sign * low, "factor": high / low, "every": float(steps - 1)}
    return with_values(config, {key: rising})


def sweep(built: Experiment, key: str, low: float, high: float, steps: int) -> Sweep:
    """Train with a rate that rises from `low` to `high`, until the loss has risen or all steps are made.

    Args:
        built: the experiment, of a configuration that `with_sweep` gave.
        key: of the rate.
        low: the first rate.
        high: the last rate.
        steps: how many.
    """
    program, losses = Program(built), np.zeros(0)
    say(f"{key}: compiling, then up to {steps} steps from {low:g} to {high:g}")
    carry = program.start(built.config)
    while len(losses) < steps and not _end(losses):
        carry, logs, _ = program.run(built.config, carry, min(CHUNK, steps - len(losses)))
        losses = np.concatenate([losses, np.asarray(logs["loss"], np.float64)])
    losses = losses[: _end(losses) or steps]
    if not len(losses):
        raise InputError(f"{key}: the loss is not finite before the first step")
    return Sweep(key, low * (high / low) ** (np.arange(len(losses)) / (steps - 1)), losses, steps)


def lines(sweep: Sweep) -> list[str]:
    """What was found, in plain lines."""
    rows = [
        f"{sweep.key}: {len(sweep.losses)} of {sweep.steps} rates, from {sweep.rates[0]:.3g} to {sweep.rates[-1]:.3g}",
        f"suggested: {sweep.steepest:.2g}, where the loss falls fastest",
        f"a tenth of the rate with the lowest loss: {sweep.lowest / 10:.2g}",
    ]
    if not sweep.risen:
        rows.append(f"the loss has not risen to {RISEN:g} times its lowest: a higher --to would tell more")
    return rows


def prepare(folder: Path) -> None:
    """Make the folder for what is found, or take that of an earlier range test.

    Raises:
        InputError: the folder holds something else.
    """
    if is_taken(folder) and not (folder / "rates.csv").exists():
        raise InputError(f"{folder} exists and holds no range test of ours; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)


def write(sweep: Sweep, folder: Path, command: str) -> None:
    """Write `rates.csv` and `report.html` in a folder."""
    path = folder / "rates.csv"
    with naming(path), path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rate", "loss", "smoothed"])
        writer.writerows(zip(*(x.tolist() for x in (sweep.rates, sweep.losses, sweep.smoothed)), strict=True))
    figure = svg(f"loss against {sweep.key}", "learning rate", lambda axes: _draw(axes, sweep), (11.2, 5.2))
    rates = [
        (f"{sweep.steepest:.2g}", "suggested: the loss falls fastest"),
        (f"{sweep.lowest / 10:.2g}", "a tenth of the rate with the lowest loss"),
        (f"{sweep.lowest:.2g}", "the rate with the lowest loss"),
    ]
    body = [tiles(rates), f'<div class="chart">{figure}</div>', "<h2>How to repeat it</h2>", card(command)]
    write_page(folder / "report.html", page_of("Learning-rate range test", body))


def _draw(axes: Axes, sweep: Sweep) -> None:
    axes.plot(sweep.rates, sweep.losses, color=COLORS[-1], alpha=0.4, linewidth=0.8, label="batch")
    axes.plot(sweep.rates, sweep.smoothed, color=COLORS[0], linewidth=1.8, label="smoothed")
    for rate, label, style in ((sweep.steepest, "steepest", "--"), (sweep.lowest / 10, "lowest / 10", ":")):
        axes.axvline(rate, color=COLORS[1], linewidth=1.2, linestyle=style, label=f"{label}: {rate:.2g}")
    axes.set_xscale("log")
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.3 * float(sweep.losses[: len(sweep.losses) // 2 + 1].max())))
    axes.set_ylabel("loss")
    axes.legend(fontsize=8)


def _end(losses: np.ndarray) -> int | None:
    """The losses before the first that is not finite or has risen; None if there is none."""
    lowest = math.inf
    for i, (loss, mean) in enumerate(zip(losses, smooth(losses), strict=True)):
        if not math.isfinite(loss) or mean > RISEN * lowest:
            return i
        lowest = min(lowest, mean)
    return None


def _rates(links: Any, path: str) -> list[str]:
    """The dotted keys of the learning rates of a chain: numbers, schedules in their place, and schedules as links."""
    if _is_schedule(links):
        return [path]
    if "use" in links:
        own = [f"{path}.learning_rate"] if "learning_rate" in links else []
        return own + (_rates(links["tx"], f"{path}.tx") if "tx" in links else [])
    return [key for name, link in links.items() if isinstance(link, dict) for key in _rates(link, f"{path}.{name}")]


def _is_schedule(x: Any) -> bool:
    entry = registered().get(str(x.get("use"))) if isinstance(x, dict) else None
    return entry is not None and entry.kind == SCHEDULE
