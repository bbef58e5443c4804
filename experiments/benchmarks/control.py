"""Guards and accumulation beside optax's: the least time, of a micro-step without a step, and the mean over cycles."""

import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks import record, trees
from experiments.benchmarks.contenders import JaxStep
from experiments.benchmarks.step import DECAY, MAX_NORM, RATE, Contenders, start, twins
from experiments.benchmarks.timing import interleaved

CYCLE = 8  # micro-steps that are a whole number of cycles for every contender


def run(parameters: int, width: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        parameters: size of the tree with one leaf.
        width: of the four square matrices for the matrix rule.
        repeats: cycles of eight micro-steps.
        out: file to append the rows to.
    """
    matrices = {f"w{i}": jax.ShapeDtypeStruct((width, width), jnp.float32) for i in range(4)}
    rows = measure(elementwise(*start(trees.leaf(parameters))), CYCLE * repeats)
    rows += measure(matrix_rule(*start(matrices)), CYCLE * repeats)
    record.show("Guards and accumulation", rows)
    record.append(out, rows)
    return out


def elementwise(params: Any, grads: Any) -> Contenders:
    """AdamW by itself, guarded, accumulated, and the recipe of all with a clip."""
    ours, theirs = oc.adamw(RATE, weight_decay=DECAY), optax.adamw(RATE, weight_decay=DECAY)
    clipped = oc.chain(clip=oc.clip_by_global_norm(MAX_NORM), adamw=ours)
    theirs_clipped = optax.chain(optax.clip_by_global_norm(MAX_NORM), theirs)
    pairs = {
        "adamw": (ours, theirs),
        "guard": (oc.guard(ours), optax.apply_if_finite(theirs, 3)),
        "accumulate 4": (oc.accumulate(ours, 4), multi_steps(theirs, 4)),
        "accumulate 4, guard, clip": (
            oc.accumulate(oc.guard(clipped), 4),
            multi_steps(optax.apply_if_finite(theirs_clipped, 3), 4),
        ),
    }
    contenders: Contenders = {}
    for name, (tx, other) in pairs.items():
        contenders |= twins(name, tx, other, params, grads)
    checking = oc.guard(ours, check_outputs=True)  # optax has no such guard
    contenders["guard, outputs too", "optchain"] = twins("", checking, theirs, params, grads)["", "optchain"]
    return contenders | {("addition of gradients", "jax"): addition(params, grads)}


def matrix_rule(params: Any, grads: Any) -> Contenders:
    """Muon, whose step costs matrix products, on every eighth micro-step."""
    muon = optax.contrib.muon(RATE)
    return twins("accumulate 8, muon", oc.accumulate(muon, 8), multi_steps(muon, 8), params, grads)


def multi_steps(tx: optax.GradientTransformation, every: int) -> optax.GradientTransformation:
    """optax's own accumulation."""
    return optax.MultiSteps(tx, every).gradient_transformation()


def addition(params: Any, grads: Any) -> JaxStep:
    """The least that an accumulation can do."""
    return JaxStep(lambda p, s, g: (jax.tree.map(jnp.add, p, g), s), optax.identity(), params, grads)


def measure(contenders: Contenders, rounds: int) -> list[record.Row]:
    """A row for each contender."""
    seconds = interleaved({key: contender.take for key, contender in contenders.items()}, rounds)
    rows = []
    for (technique, library), contender in contenders.items():
        own, counts = seconds[technique, library], contender.counts()  # pyright: ignore
        theirs = seconds.get((technique, "optax"))
        row: record.Row = {"technique": technique, "library": library}
        row |= {"ms_min": 1e3 * min(own), "ms_mean": 1e3 * statistics.fmean(own)}
        row |= {"bytes_per_param": counts.accessed, "temp_per_param": counts.temporary}
        row["mean_to_optax"] = statistics.fmean(own) / statistics.fmean(theirs) if theirs else None
        rows.append(row)
    return rows
