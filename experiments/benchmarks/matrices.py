"""Matrix techniques on a transformer's hidden matrices, as leaves of their own and stacked, beside optax's Muon."""

import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks import record
from experiments.benchmarks.contenders import JaxStep
from experiments.benchmarks.counts import chained, plain
from experiments.benchmarks.step import start
from experiments.benchmarks.timing import interleaved

RATE = 1e-3
TECHNIQUES = {
    "muon": oc.scale_by_muon(),
    "muon, polar express": oc.scale_by_muon(ns_coeffs="polar_express"),
    "normuon": oc.scale_by_normuon(),
    "dion, rank 32": oc.scale_by_dion(rank=32),
    "kron": oc.scale_by_kron(),
    "galore, rank 32": oc.scale_by_galore(rank=32),
    "apollo, rank 32": oc.scale_by_apollo(rank=32),
    "shampoo": oc.scale_by_shampoo(b=0.95, every=10),
    "soap": oc.scale_by_soap(),
    "kl_soap": oc.scale_by_kl_soap(),
    "adam": oc.scale_by_adam(),
}


def run(layers: int, width: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        layers: blocks of the transformer.
        width: of its square matrices; those of the MLP are 4 times as long.
        repeats: rounds of ten steps, in one of which those take theirs that work at every tenth step.
        out: file to append the rows to.
    """
    rows = []
    for name, shapes in {"leaves": leaves(layers, width), "stacked": stacked(layers, width)}.items():
        rows += [{"tree": name} | row for row in measure(contenders(*start(shapes), name == "stacked"), 10 * repeats)]
    record.show("Matrices (ratios of the mean times)", rows)
    record.append(out, rows)
    return out


def leaves(layers: int, width: int) -> dict[str, Any]:
    """Four matrices for each block, as leaves of their own."""
    return {f"block_{i}": _arrays((), width) for i in range(layers)}


def stacked(layers: int, width: int) -> dict[str, Any]:
    """The same with the blocks on a leading axis, as in a scanned model."""
    return _arrays((layers,), width)


def _arrays(leading: tuple[int, ...], width: int) -> dict[str, Any]:
    shapes = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 4 * width), "down": (4 * width, width)}
    return {name: jax.ShapeDtypeStruct((*leading, *shape), jnp.float32) for name, shape in shapes.items()}


def contenders(params: Any, grads: Any, layered: bool) -> dict[Any, JaxStep]:
    """Each technique with a learning rate after it; optax's Muon has all axes but the last two as batches."""
    lr = oc.scale_by_learning_rate(RATE)
    steps: dict[Any, JaxStep] = {}
    for name, technique in TECHNIQUES.items():
        tx = oc.chain(technique=oc.over_layers(technique, "*") if layered else technique, lr=lr)
        steps[name, "optchain"] = JaxStep(chained(tx), tx, params, grads)

    def axes(params: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(-2, -1), params)

    muon = optax.contrib.scale_by_muon(weight_dimension_numbers=axes)
    theirs = optax.chain(muon, optax.scale_by_learning_rate(RATE))
    steps["muon", "optax"] = JaxStep(plain(theirs), theirs, params, grads)
    return steps


def measure(contenders: dict[Any, JaxStep], repeats: int) -> list[record.Row]:
    """A row for each contender; the ratio is to optax's Muon."""
    seconds = interleaved({key: contender.take for key, contender in contenders.items()}, repeats)
    muon = statistics.fmean(seconds["muon", "optax"])
    rows = []
    for (technique, library), contender in contenders.items():
        own, counts = seconds[technique, library], contender.counts()
        row = {"parameters": sum(p.size for p in contender.arrays()), "technique": technique, "library": library}
        row |= {
            "compile_s": contender.compile_seconds,
            "ms_min": 1e3 * min(own),
            "ms_mean": 1e3 * statistics.fmean(own),
        }
        row |= {"bytes_per_param": counts.accessed, "temp_per_param": counts.temporary}
        rows.append(row | {"mean_to_muon": statistics.fmean(own) / muon})
    return rows
