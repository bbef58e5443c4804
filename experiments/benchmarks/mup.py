"""The best learning rate at several widths, with maximal update parametrization and without: one compiled call each."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import record
from optchain import lab

# All rates run side by side in the lab's own loop, without the trainer.
from optchain.lab.reports.charts import COLORS, svg
from optchain.lab.training.chunk import Setting
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.start import make_start

KEY = "optimizer.lr.start"
WAYS = {"mup": "maximal update", "sp": "standard"}
LAST = 0.2  # of the steps, over whose batches the loss is a mean


def run(
    tasks: Sequence[str], widths: Sequence[int], low: float, high: float, per_octave: int, seeds: int, out: Path
) -> Path:
    """Measure, print, draw and record; the path of the record.

    Args:
        tasks: names of files in `configs/mup`.
        widths: of the model, the first of which is compared with the last.
        low: the least rate.
        high: the greatest.
        per_octave: rates from one to its double.
        seeds: runs at each rate, over which losses are means.
        out: file to append the rows to; the charts are put beside it.
    """
    rates = low * 2 ** (np.arange(1 + round(math.log2(high / low) * per_octave)) / per_octave)
    every: list[record.Row] = []
    for task in tasks:
        rows, curves = [], {}
        for way in WAYS:
            for width in widths:
                losses = curves[way, width] = losses_of(task, way, width, rates, seeds)
                rows.append(row(task, way, width, rates, losses))
                record.append(out, [rows[-1]])  # each as soon as it is there
        record.show(f"configs/mup/{task}.toml: the best rate", rows)
        record.show("Goals", goals := moves(task, rows))
        record.append(out, goals)
        record.show("The best rate of the first width, at the last one", found := transfers(task, rows))
        record.append(out, found)
        for way, name in WAYS.items():
            chart = drawn(f"{task}, {name} parametrization", rates, {w: curves[way, w] for w in widths})
            (out.parent / f"mup-{task}-{way}.svg").write_text(chart)
        every += rows
    return out


def losses_of(task: str, way: str, width: int, rates: np.ndarray, seeds: int) -> np.ndarray:
    """The training loss at the end for each rate, a mean over seeds; infinite where one diverged."""
    path = Path(f"configs/mup/{task}.toml")
    tables = dict(lab.load(path).tables)
    if way == "sp":
        del tables["mup"]
    named = lab.Configuration(tables, {"model.width": width}, folder=path.parent, source=str(path))
    built = build(named.run_table("mup"), str(path))
    program, steps = Program(built, (KEY,)), built.config.train.last_step
    numbers: dict[str, Any] = {KEY: jnp.tile(jnp.asarray(rates, jnp.float32), seeds)}
    settings = Setting(jnp.repeat(jnp.arange(seeds), len(rates)), numbers)
    carry = jax.jit(jax.vmap(make_start(built.task, built.parts)))(settings)
    arguments = carry, program.data["train"], settings
    _, logs = program.side_by_side(arguments, steps)[0](*arguments)
    last = np.asarray(logs["loss"], np.float64)[:, -max(1, int(LAST * steps)) :].mean(1)
    means = np.where(np.isfinite(last), last, np.inf).reshape(seeds, len(rates)).mean(0)
    return means


def row(task: str, way: str, width: int, rates: np.ndarray, losses: np.ndarray) -> record.Row:
    """What was found at one width."""
    shown = {f"{rate:.3g}": round(float(x), 4) for rate, x in zip(rates, losses, strict=True)}
    return {
        "task": task,
        "way": way,
        "width": width,
        "best rate": best(rates, losses),
        "at an end": "yes" if int(losses.argmin()) in (0, len(rates) - 1) else "",
        "loss": float(losses.min()),
        "losses": shown,
    }


def best(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate at the lowest point of the parabola through the lowest loss and its neighbours, over log rates."""
    i = int(losses.argmin())
    if i in (0, len(rates) - 1) or not np.isfinite(losses[i - 1 : i + 2]).all():
        return float(rates[i])
    left, middle, right = losses[i - 1 : i + 2]
    shift = 0.5 * (left - right) / (left - 2 * middle + right)
    return float(rates[i] * (rates[i + 1] / rates[i]) ** shift)


def moves(task: str, rows: list[record.Row]) -> list[record.Row]:
    """By what factor the best rate moves from the first width to the last."""
    found = []
    for way, name in WAYS.items():
        of_way: list[Any] = [row["best rate"] for row in rows if row["way"] == way]
        factor = max(of_way[0], of_way[-1]) / min(of_way[0], of_way[-1])
        found.append(record.goal(f"{task}, {name}: the best rate moves by a factor of", factor, 1.5, way == "sp"))
    return found


def transfers(task: str, rows: list[record.Row]) -> list[record.Row]:
    """How good the last width is with the best rate of the first, and how many trials of its own that saves: so many
    of the rates, drawn blindly, are tried on average until one is as good."""
    found = []
    for way in WAYS:
        first, *_, last = [row["losses"] for row in rows if row["way"] == way]
        rate = min(first, key=first.get)
        as_good = sum(loss <= last[rate] for loss in last.values())
        found.append(
            {
                "task": task,
                "way": way,
                "rate": float(rate),
                "loss": last[rate],
                "lowest loss": min(last.values()),
                "trials": (len(last) + 1) / (as_good + 1),
            }
        )
    return found


def drawn(title: str, rates: np.ndarray, curves: dict[int, np.ndarray]) -> str:
    """Losses against rates, a curve for each width."""

    def draw(axes: Any) -> None:
        lowest = min(float(x.min()) for x in curves.values())
        first = max(float(x[0]) for x in curves.values())
        for i, (width, losses) in enumerate(curves.items()):
            axes.plot(rates, losses, marker="o", markersize=3, color=COLORS[i], label=f"width {width}")
            axes.axvline(best(rates, losses), color=COLORS[i], linestyle=":")
        axes.set_xscale("log", base=2)
        axes.set_ylim(lowest - 0.05 * (first - lowest), lowest + 1.2 * (first - lowest))
        axes.legend(fontsize=8)

    return svg(title, "learning rate of the base width", draw, ylabel="training loss at the end")
