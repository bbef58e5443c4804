"""How recorded runs are stored: samples of each leaf, and what all its entries add up to."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recorded.runs import Run

HERE = Path(__file__).parent
SAMPLES = 32  # entries of each leaf, at most


class Leaf(NamedTuple):
    """What is stored of a leaf."""

    samples: np.ndarray  # float32, some of its entries
    total: float  # the sum of all, in float64
    square: float  # the sum of their squares
    largest: float  # the largest absolute value


def leaf(x: np.ndarray) -> Leaf:
    """What is stored of an array in float64; the same entries of each array of a size."""
    flat = x.ravel()
    spread = np.floor(np.arange(SAMPLES) * 0.6180339887498949 % 1 * x.size).astype(int)
    samples = flat[spread] if x.size > SAMPLES else flat
    return Leaf(samples.astype(np.float32), flat.sum(), (flat**2).sum(), abs(flat).max())


def write(runs: dict[str, tuple[str, Run]]) -> None:
    """Store runs by name, each with the name of the leaves that it was made on."""
    index, arrays = {}, {}
    for i, (name, (leaves, run)) in enumerate(runs.items()):
        found = [leaf(x) for tree in run.trees.values() for x in tree.values()]
        sizes = {path: len(leaf(x).samples) for path, x in run.trees["params"].items()}
        index[name] = {"leaves": leaves, "trees": list(run.trees), "sizes": sizes, "metrics": run.metrics}
        arrays[f"{i}"] = np.concatenate([x.samples for x in found])
        arrays[f"{i}.sums"] = np.array([x[1:] for x in found])
    lines = [f" {json.dumps(name)}: {json.dumps(own)}" for name, own in index.items()]
    (HERE / "runs.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(HERE / "runs.npz", **arrays)


@functools.cache
def index() -> dict[str, Any]:
    """What is stored of runs beside their numbers: leaves, trees and metrics."""
    return json.loads((HERE / "runs.json").read_text())


@functools.cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(HERE / "runs.npz") as file:
        return dict(file)


def trees(name: str) -> dict[str, dict[str, Leaf]]:
    """The stored leaves of a run, by quantity and path."""
    own, i = index()[name], list(index()).index(name)
    sizes = own["sizes"]
    samples = np.split(_arrays()[f"{i}"], np.cumsum(list(sizes.values()) * len(own["trees"]))[:-1])
    leaves = [Leaf(x, *sums) for x, sums in zip(samples, _arrays()[f"{i}.sums"], strict=True)]
    rows = (leaves[k : k + len(sizes)] for k in range(0, len(leaves), len(sizes)))
    return {tree: dict(zip(sizes, row, strict=True)) for tree, row in zip(own["trees"], rows, strict=True)}
