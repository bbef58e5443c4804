"""Every technique beside its twin in optax: on one long leaf, on a transformer's tree, on many small leaves."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import matplotlib
from matplotlib.figure import Figure

from experiments.benchmarks import record
from experiments.benchmarks.step import measure, start, twins
from experiments.benchmarks.twins import pairs

SMALL = (16, 16)  # the shape of each small leaf


def run(tree: str, shape: Any, repeats: int, only: list[str], out: Path) -> list[record.Row]:
    """A row for each technique and library on one tree, recorded as soon as it is measured; then printed, with the
    geometric mean.

    Args:
        tree: its name.
        shape: the tree.
        repeats: rounds.
        only: names of techniques; all if empty.
        out: file to append the rows to.
    """
    rows = []
    for name, ours, theirs in fitting(shape, only):
        pair = [{"tree": tree} | row for row in measure(twins(name, ours, theirs, *start(shape)), repeats)]
        record.append(out, pair)
        rows += pair
        jax.clear_caches()  # what is compiled for a thousand leaves would fill the memory
    record.show(f"Techniques with a twin in optax: {tree}", rows)
    print(f"{tree}: geometric mean of optchain's times over optax's {geometric_mean(rows):.3f}", flush=True)
    return rows


def small(leaves: int) -> list[jax.ShapeDtypeStruct]:
    """Many small matrices."""
    return [jax.ShapeDtypeStruct(SMALL, "float32")] * leaves


def fitting(shape: Any, only: list[str]) -> Iterator[tuple[str, Any, Any]]:
    """The pairs that take such parameters: what looks across matrices does not take a vector."""
    for name, ours, theirs in pairs():
        if only and name not in only:
            continue
        try:
            jax.eval_shape(ours.init, shape)
        except ValueError as reason:
            print(f"{name} left out here: {str(reason).splitlines()[0][:100]}")
        else:
            yield name, ours, theirs


def geometric_mean(rows: list[record.Row]) -> float:
    """Of optchain's times over those of its twins in optax."""
    ratios = [row["to_optax"] for row in rows if row["library"] == "optchain"]
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def plot(rows: list[record.Row], path: Path) -> None:
    """A chart of the ratios, one line for each technique and a mark for each tree."""
    own = [row for row in rows if row["library"] == "optchain"]
    names = sorted({row["technique"] for row in own}, key=lambda name: _mean(own, name))
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(7, 1.2 + 0.18 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for tree, marker in zip(dict.fromkeys(row["tree"] for row in own), "osD", strict=False):
            points = {row["technique"]: row["to_optax"] for row in own if row["tree"] == tree}
            axes.scatter(list(points.values()), [names.index(name) for name in points], marker=marker, s=16, label=tree)
        axes.axvline(1, color="#52606d", linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_xscale("log")
        axes.set_xlabel("time of one step over that of optax (left of 1 is faster)")
        axes.grid(axis="y", color="#e4e8ee")
        axes.legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


def _mean(rows: list[record.Row], name: str) -> float:
    return geometric_mean([row for row in rows if row["technique"] == name])
