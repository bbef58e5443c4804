"""Slots in codes and split parameters: bytes, temporaries, time, and what they do to training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import optchain as oc
from experiments.benchmarks import displacement, parity, record, trees
from experiments.benchmarks.contenders import JaxStep
from experiments.benchmarks.counts import chained, donated
from experiments.benchmarks.timing import interleaved, milliseconds

SECTIONS = ("bytes", "time", "parity", "growth")
RATE = 1e-3
PLAIN = "float32"
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "bfloat16": {"slots": "bfloat16"},
    "int8": {"slots": "int8"},
    "int4": {"slots": "int4"},
    "split": {"params": "split"},
    "split, int8": {"params": "split", "slots": "int8"},
    "split8, int8": {"params": "split8", "slots": "int8"},
}
OTHERS = {"muon": oc.muon, "lion": oc.lion, "adagrad": oc.adagrad, "adafactor": oc.adafactor}


def run(
    sections: list[str], parameters: int, repeats: int, steps: int, seeds: int, batch: int, only: list[str], out: Path
) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        sections: which; all if left empty.
        parameters: of the matrix whose steps are counted and timed.
        repeats: rounds of steps.
        steps: of a training run; of the techniques' displacements a quarter.
        seeds: of the training runs.
        batch: of theirs.
        only: names of ways of storing for `parity`, or of techniques for `growth`; all if left empty.
        out: file to append the rows to.
    """
    made = {
        "bytes": lambda: of_bytes(parameters),
        "time": lambda: of_time(parameters, repeats),
        "parity": lambda: parity.run(steps, seeds, batch, only),
        "growth": lambda: displacement.run(max(1, steps // 4), only),
    }
    titles = {
        "bytes": f"Bytes a parameter, of a matrix of {parameters:,}",
        "time": "One step (ratios of the least times)",
        "parity": f"Validation loss of {parity.CONFIG}, {steps} steps, batches of {batch}",
        "growth": "Relative error of the sum of all updates, beside float64",
    }
    for section in sections or SECTIONS:
        rows = []
        for row in made[section]():
            rows.append(row)
            record.append(out, [{"section": section} | row])  # each as soon as it is there: some take minutes
        shown = list(parity.compared(rows)) if section == "parity" else rows
        record.show(titles[section], shown)
        goals = list({"bytes": of_goals, "parity": parity.goals}.get(section, lambda _: [])(shown))
        if goals:
            record.show("Goals", goals)
            record.append(out, [{"section": section} | row for row in goals])
    return out


def matrix(parameters: int, way: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """A matrix of about this many parameters; of bfloat16, where it is stored in two parts."""
    rows = max(1, round(parameters**0.5))
    return {"w": jax.ShapeDtypeStruct((rows, -(-parameters // rows)), jnp.bfloat16 if "params" in way else jnp.float32)}


def contender(make: Any, way: dict[str, Any]) -> Any:
    """A technique whose slots and parameters are stored in this way."""
    return oc.precision(make(RATE), **way) if way else make(RATE)


def of_bytes(parameters: int) -> Iterator[record.Row]:
    """What a step keeps and what it needs besides, by the compiler's counts; nothing is allocated."""
    for name, make, ways in [("adamw", oc.adamw, WAYS), *((n, m, (PLAIN, "int8")) for n, m in OTHERS.items())]:
        for stored in ways:
            yield {"technique": name, "stored": stored} | counted(
                contender(make, WAYS[stored]), WAYS[stored], parameters
            )


def counted(tx: Any, way: dict[str, Any], parameters: int) -> record.Row:
    """The bytes for each parameter."""
    params = matrix(parameters, way)
    state, size = jax.eval_shape(tx.init, params), trees.size(params)

    def temporary(step: Any, *read: Any) -> float:
        memory: Any = donated(step).lower(params, state, *read).compile().memory_analysis()
        return memory.temp_size_in_bytes / size

    def gradient(x: jax.Array, y: jax.Array) -> Any:
        return {"w": jnp.asarray(x.T @ y, params["w"].dtype)}

    def within(params: Any, state: Any, *sides: jax.Array) -> Any:
        return step(params, state, gradient(*sides))

    def alone() -> float:
        """The gradient, and in bfloat16 the product in float32 that it is rounded from on a CPU."""
        memory: Any = jax.jit(gradient).lower(*sides).compile().memory_analysis()
        return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / size

    step, held = chained(tx), lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)) / size
    sides = [jax.ShapeDtypeStruct((8, n), jnp.float32) for n in params["w"].shape]
    return {
        "state": held(state),
        "with parameters": held((params, state)),
        # A gradient that is given stays as it is; over one that is made in the step its update may be written.
        "temporary, gradient given": temporary(step, params),
        "temporary beside a gradient made in the step": temporary(within, *sides) - alone(),
    }


def of_time(parameters: int, repeats: int) -> Iterator[record.Row]:
    """The time of a step of AdamW in each way of storing, side by side."""
    steps = {}
    for name, way in WAYS.items():
        params = trees.normal(matrix(parameters, way), 0, 1.0)
        tx = contender(oc.adamw, way)
        steps[name] = JaxStep(chained(tx), tx, params, trees.normal(params, 1, 1.0))
    seconds = interleaved({name: step.take for name, step in steps.items()}, repeats)
    for name in WAYS:
        to_plain = min(seconds[name]) / min(seconds[PLAIN])
        yield {"technique": "adamw", "stored": name} | milliseconds(seconds[name]) | {"to_float32": to_plain}


def of_goals(rows: list[record.Row]) -> Iterator[record.Row]:
    """What is to be reached with AdamW."""
    found = {row["stored"]: row for row in rows if row["technique"] == "adamw"}
    yield record.goal("int8: bytes of state", found["int8"]["state"], 2.1)
    yield record.goal("int4: bytes of state", found["int4"]["state"], 1.15)
    yield record.goal("split, int8: bytes of state and parameters", found["split, int8"]["with parameters"], 6.1)
    yield record.goal("split8, int8: bytes of state and parameters", found["split8, int8"]["with parameters"], 5.1)
    for name in ("int8", "int4", "split, int8", "split8, int8"):
        beside = found[name]["temporary beside a gradient made in the step"]
        yield record.goal(f"{name}: temporary bytes beside a gradient made in the step", beside, 0.1)
