"""What a step costs in Python, whatever its arrays hold: calls, equations, tracing, eager steps; and the import."""

import functools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

import optchain as oc
from experiments.benchmarks import record, trees
from experiments.benchmarks.step import DECAY, MAX_NORM, RATE
from experiments.benchmarks.timing import interleaved
from experiments.benchmarks.traced import (
    FOLDERS,
    Stepped,
    by_leaf,
    calls,
    equations,
    modules,
    ours,
    theirs,
    transformer,
)

# An installed library has been compiled to bytecode when it is first imported; the environment may forbid to write it.
COMPILED = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

TINY_STEPS = 20  # of one small leaf, timed together

Contenders = dict[tuple[str, str], Callable[[], object]]  # by what is timed, and library


def run(repeats: int, only: Sequence[str], out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        repeats: rounds of all that is timed.
        only: names of `PARTS`; all of them if empty.
        out: file to append the rows to.
    """
    rows = [row for name in only or PARTS for row in PARTS[name](repeats)]
    record.show("Overhead (counts, and the least CPU times)", rows)
    record.append(out, rows)
    return out


def adamw() -> dict[str, Stepped]:
    """The preset of each library."""
    return {"optchain": ours(oc.adamw(RATE)), "optax": theirs(optax.adamw(RATE))}


def clipped() -> dict[str, Stepped]:
    """AdamW after a clip: a chain of all its links beside optax's chain."""
    links = oc.chain(
        clip=oc.clip_by_global_norm(MAX_NORM),
        adam=oc.scale_by_adam(),
        decay=oc.add_decayed_weights(DECAY),
        lr=oc.scale_by_learning_rate(RATE),
    )
    twin = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adamw(RATE, weight_decay=DECAY))
    return {"optchain": ours(links), "optax": theirs(twin)}


def count_calls(repeats: int) -> Iterator[record.Row]:
    """Python calls for one leaf and for each further one."""
    goals = {"adamw, one leaf": 120, "adamw, each further leaf": 25}
    for technique, pair in (("adamw", adamw()), ("clip + adamw", clipped())):
        counts = {name: by_leaf(lambda tree, n=name, x=x: calls(x, tree, FOLDERS[n])) for name, x in pair.items()}
        for leaf in counts["optchain"]:
            what = f"{technique}, {leaf}"
            yield compared(f"calls: {what}", {name: x[leaf] for name, x in counts.items()}, "count", goals.get(what))


def count_equations(repeats: int) -> Iterator[record.Row]:
    """Equations in the jaxpr of clip + AdamW."""
    pair, tree = clipped(), transformer()
    yield compared(f"equations: {size(tree)}", {name: equations(x, tree) for name, x in pair.items()}, "count", 3500)
    counts = {name: by_leaf(functools.partial(equations, x)) for name, x in pair.items()}
    for leaf in counts["optchain"]:
        yield compared(f"equations: {leaf}", {name: x[leaf] for name, x in counts.items()})


def time_traces(repeats: int) -> Iterator[record.Row]:
    """Tracing clip + AdamW, and lowering it too."""
    tree, contenders = transformer(), {}
    for library, stepped in clipped().items():
        step, args = stepped.step, (tree, jax.eval_shape(stepped.tx.init, tree), tree)
        # Each time a function that JAX has not seen.
        contenders["trace", library] = lambda step=step, args=args: jax.jit(lambda *x: step(*x)).trace(*args)
        contenders["trace + lower", library] = lambda step=step, args=args: jax.jit(lambda *x: step(*x)).lower(*args)
    least = timed(contenders, repeats)
    yield compared(f"trace, ms: {size(tree)}", milliseconds("trace", least))
    yield compared(f"trace + lower, ms: {size(tree)}", milliseconds("trace + lower", least), "ratio", 0.95)


def time_eager(repeats: int) -> Iterator[record.Row]:
    """Steps of clip + AdamW that are not compiled."""
    contenders, tree = {}, transformer()
    for what, shapes, steps in (("tree", tree, 1), ("leaf", modules(1), TINY_STEPS)):
        params = trees.normal(shapes, 0, 1.0)
        for library, stepped in clipped().items():
            contenders[what, library] = functools.partial(take, stepped, params, stepped.tx.init(params), steps)
    least = timed(contenders, repeats)
    yield compared(f"eager step, ms: {size(tree)}", milliseconds("tree", least), "ratio", 0.8)
    yield compared("eager step, ms: one tiny leaf", milliseconds("leaf", least, TINY_STEPS), "ratio", 1.3)


def take(stepped: Stepped, params: Any, state: Any, steps: int) -> None:
    """So many times the same step, which leaves its arguments as they are."""
    for _ in range(steps):
        jax.block_until_ready(stepped.step(params, state, params))


def time_imports(repeats: int) -> Iterator[record.Row]:
    """Importing each library in a new process, whose own start counts too."""
    contenders: Contenders = {}
    for library in FOLDERS:
        command = [sys.executable, "-c", f"import {library}"]
        contenders["import", library] = functools.partial(
            subprocess.run, command, cwd=FOLDERS["optchain"].parent, check=True, env=COMPILED
        )
    least = timed(contenders, repeats, seconds_of_children)
    yield compared("import, s", {library: seconds for (_, library), seconds in least.items()}, "difference", 0.1)


def timed(
    contenders: Contenders, repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[tuple[str, str], float]:
    """The least CPU seconds of each: other processes disturb them less than they do the time on the wall."""
    return {key: min(seconds) for key, seconds in interleaved(contenders, repeats, clock).items()}


def seconds_of_children() -> float:
    """The CPU seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def milliseconds(what: str, least: dict[tuple[str, str], float], steps: int = 1) -> dict[str, float]:
    """The time of one step by library."""
    return {library: 1e3 * seconds / steps for (name, library), seconds in least.items() if name == what}


def size(tree: Any) -> str:
    """How many leaves a tree has, in words."""
    return f"{len(jax.tree.leaves(tree))} leaves"


def compared(what: str, numbers: dict[str, float], of: str = "ratio", limit: float | None = None) -> record.Row:
    """A row of both libraries, with the goal that limits our own count, the ratio or the difference."""
    ours, theirs = numbers["optchain"], numbers["optax"]
    row: record.Row = {"what": what, "optchain": ours, "optax": theirs, "to_optax": ours / theirs}
    measured = {"count": ours, "ratio": ours / theirs, "difference": ours - theirs}[of]
    shown = {"count": "{:g}", "ratio": "{:g}x", "difference": "+{:g}"}[of]
    if limit is None:
        return row | {"goal": None, "met": None}
    return row | {"goal": f"<= {shown.format(limit)}", "met": measured <= limit}


PARTS: dict[str, Callable[[int], Iterator[record.Row]]] = {
    "calls": count_calls,
    "equations": count_equations,
    "trace": time_traces,
    "eager": time_eager,
    "import": time_imports,
}
