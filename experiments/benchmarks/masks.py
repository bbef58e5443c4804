"""What masks cost: AdamW bare, with masks on its updates, and wrapped in `oc.sparse`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks import record, trees
from experiments.benchmarks.contenders import JaxStep
from experiments.benchmarks.counts import chained
from experiments.benchmarks.step import start
from experiments.benchmarks.timing import interleaved, milliseconds

RATE, SIDE = 1e-3, 4096


def run(parameters: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        parameters: of a matrix with this many columns of 4,096 at most.
        repeats: rounds.
        out: file to append the rows to.
    """
    width = min(SIDE, parameters)
    params, grads = start({"kernel": jax.ShapeDtypeStruct((parameters // width, width), jnp.float32)})
    contenders = {name: JaxStep(chained(tx), tx, params, grads) for name, tx in transformations(params).items()}
    seconds = interleaved({name: step.take for name, step in contenders.items()}, repeats)
    bare, rows = min(seconds["adamw"]), []
    for name, step in contenders.items():
        counts = step.counts()
        row = {"technique": name, "parameters": trees.size(params), "compile_s": step.compile_seconds}
        row |= milliseconds(seconds[name])
        row |= {"bytes_per_param": counts.accessed, "temp_per_param": counts.temporary}
        rows.append(row | {"to_bare": min(seconds[name]) / bare})
    record.show("Masks (ratios of the least times)", rows)
    record.append(out, rows)
    return out


def transformations(params: dict[str, jax.Array]) -> dict[str, optax.GradientTransformation]:
    """AdamW, and what makes it sparse; the schedules change their masks at no step that is measured, but for one."""
    static = jax.tree.map(lambda p: jax.random.bernoulli(jax.random.key(0), 0.1, p.shape), params)
    adamw = oc.adamw(RATE)
    return {
        "adamw": adamw,
        "mask_updates": oc.chain(adamw, oc.mask_updates(static)),
        "keep_random": oc.chain(adamw, oc.keep_random(0.1)),
        "sparse, static": oc.sparse(adamw, 0.9, score="random"),
        "sparse, gradual, between changes": oc.sparse(adamw, 0.9, schedule=oc.gradual(10**6, 2 * 10**6, 1000)),
        "sparse, gradual, changed at every step": oc.sparse(adamw, 0.9, schedule=oc.gradual(0, 10**6, 1)),
    }
