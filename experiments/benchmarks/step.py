"""One optimizer step: clip + AdamW and AdamW in optchain, optax and torch."""

import math
from pathlib import Path
from typing import Any

import optax

import optchain as oc
from experiments.benchmarks import record, trees
from experiments.benchmarks.contenders import JaxStep, TorchStep, no_torch
from experiments.benchmarks.counts import chained, plain
from experiments.benchmarks.timing import interleaved, milliseconds

RATE, DECAY, MAX_NORM = 1e-3, 1e-4, 1.0

Key = tuple[str, str]  # technique, library
Contenders = dict[Key, JaxStep | TorchStep]


def run(parameters: int, layers: int, width: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record."""
    rows, goals = [], []
    shapes = {"leaf": trees.leaf(parameters), "gpt": trees.gpt(layers, width)}
    if (reason := no_torch()) is not None:
        print(reason)
    for tree, shape in shapes.items():
        measured = measure(adamws(*start(shape)), repeats)
        rows += [{"tree": tree} | row for row in measured]
        goals += [{"tree": tree} | row for row in check(measured, temporary=0.02 if tree == "gpt" else 0.001)]
    record.show("One step (ratios of the least times)", rows)
    record.show("Goals", goals)
    record.append(out, [*rows, *goals])
    return out


def every(parameters: int, layers: int, width: int, leaves: int, repeats: int, only: list[str], out: Path) -> Path:
    """Measure, print, draw and record every technique with a twin in optax; the path of the record."""
    from experiments.benchmarks import catalogue

    shapes = {"leaf": trees.leaf(parameters), "gpt": trees.gpt(layers, width), "small leaves": catalogue.small(leaves)}
    rows = []
    for tree, shape in shapes.items():
        rows += catalogue.run(tree, shape, repeats, only, out)
        catalogue.plot(rows, out.with_suffix(".png"))
    print(f"chart: {out.with_suffix('.png')}")
    return out


def start(shape: Any) -> tuple[Any, Any]:
    """Parameters, and gradients whose norm exceeds the bound of the clip."""
    return trees.normal(shape, 0, 1.0), trees.normal(shape, 1, 10 * MAX_NORM / math.sqrt(trees.size(shape)))


def adamws(params: Any, grads: Any) -> Contenders:
    """The same arithmetic in three libraries, with and without the clip."""
    contenders: Contenders = {}
    for technique, max_norm in (("adamw", None), ("clip + adamw", MAX_NORM)):
        ours, theirs = oc.adamw(RATE, weight_decay=DECAY), optax.adamw(RATE, weight_decay=DECAY)
        if max_norm is not None:
            ours = oc.chain(clip=oc.clip_by_global_norm(max_norm), adamw=ours)
            theirs = optax.chain(optax.clip_by_global_norm(max_norm), theirs)
        contenders |= twins(technique, ours, theirs, params, grads)
        if no_torch() is None:
            contenders[technique, "torch"] = TorchStep(params, grads, max_norm, lr=RATE, weight_decay=DECAY)
    return contenders


def twins(name: str, ours: Any, theirs: Any, params: Any, grads: Any) -> Contenders:
    """One technique of ours, through `apply`, beside optax's, through `update` and `apply_updates`."""
    return {
        (name, "optchain"): JaxStep(chained(ours), ours, params, grads),
        (name, "optax"): JaxStep(plain(theirs), theirs, params, grads),
    }


def measure(contenders: Contenders, repeats: int) -> list[record.Row]:
    """A row for each contender."""
    seconds = interleaved({key: contender.take for key, contender in contenders.items()}, repeats)
    rows = []
    for (technique, library), contender in contenders.items():
        own = min(seconds[technique, library])
        bare = seconds.get(("adamw", library))
        counts = contender.counts() if isinstance(contender, JaxStep) else None
        size = sum(p.size for p in contender.arrays())
        row = {"parameters": size, "technique": technique, "library": library}
        row["compile_s"] = contender.compile_seconds if isinstance(contender, JaxStep) else None
        row |= milliseconds(seconds[technique, library])
        row["bytes_per_param"] = counts.accessed if counts else None
        row["temp_per_param"] = counts.temporary if counts else None
        row["to_optax"] = own / min(seconds[technique, "optax"])
        row["to_bare"] = own / min(bare) if bare else None
        rows.append(row)
    return rows


def check(rows: list[record.Row], temporary: float) -> list[record.Row]:
    """The goals of clip + AdamW."""
    own = next(row for row in rows if (row["technique"], row["library"]) == ("clip + adamw", "optchain"))
    return [
        record.goal("clip + adamw: bytes/param", own["bytes_per_param"], 44.5),
        record.goal("clip + adamw: temporary bytes/param", own["temp_per_param"], temporary),
        record.goal("clip + adamw: time over bare adamw", own["to_bare"], 1.2),
        record.goal("clip + adamw: times faster than optax", 1 / own["to_optax"], 2, at_least=True),
    ]
