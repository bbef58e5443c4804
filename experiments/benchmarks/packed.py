"""Packed leaves beside single ones: a step of many small leaves, and a whole step of training a deep transformer."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks import decoder, record, trees
from experiments.benchmarks.contenders import JaxStep
from experiments.benchmarks.counts import chained, plain
from experiments.benchmarks.timing import compile_timed, interleaved, milliseconds

RATE = 1e-3
SMALL = {"(64, 64)": (64, 64), "(256,)": (256,)}


def run(leaves: int, layers: int, width: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        leaves: of each tree of small leaves.
        layers: of the transformer, with 16 leaves each.
        width: of the transformer.
        repeats: rounds of ten steps.
        out: file to append the rows to.
    """
    rows = []
    for name, shape in SMALL.items():
        tree = {f"w{i:04}": jax.ShapeDtypeStruct(shape, jnp.float32) for i in range(leaves)}
        rows += small(f"{leaves} x {name}", tree, adamws(), repeats)
        jax.clear_caches()
    matrices = {f"w{i:04}": jax.ShapeDtypeStruct((64, 64), jnp.float32) for i in range(leaves // 10)}
    rows += small(f"{len(matrices)} x (64, 64), Muon", matrices, muons(), repeats)
    record.show("One step of the optimizer (times over optax's)", rows)
    trained = whole(layers, width, repeats)
    record.show("A whole step of training (the optimizer's share is what comes on top of the gradients)", trained)
    goals = verdicts(rows, trained)
    record.show("Goals", goals)
    record.append(out, [*rows, *trained, *goals])
    return out


def adamws() -> dict[str, Any]:
    """Clip and AdamW of optax, and of optchain."""
    ours = oc.chain(clip=oc.clip_by_global_norm(1.0), adamw=oc.adamw(RATE))
    return {"optax": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE)), "optchain": ours}


def muons() -> dict[str, Any]:
    """Muon of optax, and of optchain."""
    ours = oc.chain(muon=oc.scale_by_muon(), lr=oc.scale_by_learning_rate(RATE))

    def axes(params: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(-2, -1), params)

    theirs = optax.contrib.scale_by_muon(weight_dimension_numbers=axes)
    return {"optax": optax.chain(theirs, optax.scale_by_learning_rate(RATE)), "optchain": ours}


def small(tree: str, shape: Any, made: dict[str, Any], repeats: int) -> list[record.Row]:
    """Compile time, step time and counts of each way to step one tree."""
    params, grads = trees.normal(shape, 0, 1.0), trees.normal(shape, 1, 1e-2)
    tx = oc.packed(made["optchain"])
    contenders = {
        "optax": JaxStep(plain(made["optax"]), made["optax"], params, grads),
        "optchain": JaxStep(chained(made["optchain"]), made["optchain"], params, grads),
        "packed slots": JaxStep(chained(tx), tx, params, grads),
        "packed": JaxStep(chained(tx), tx, oc.pack(tx, params), oc.pack(tx, grads)),
    }
    seconds = interleaved({name: functools.partial(ten, x.take) for name, x in contenders.items()}, repeats)
    first = contenders["optax"]
    rows = []
    for name, x in contenders.items():
        ms = {key: value / 10 for key, value in milliseconds(seconds[name]).items()}
        counts = x.counts()
        rows.append(
            {"tree": tree, "way": name, "compile s": x.compile_seconds, **ms}
            | {"compile, times": x.compile_seconds / first.compile_seconds}
            | {"step, times": min(seconds[name]) / min(seconds["optax"])}
            | {"bytes": counts.accessed, "temporaries": counts.temporary}
        )
    return rows


def whole(layers: int, width: int, repeats: int) -> list[record.Row]:
    """Compile time and step time of training a transformer with each optimizer, and with none."""
    model = decoder.Decoder(layers=layers, width=width)
    ids = jax.random.randint(jax.random.key(1), (2, model.context + 1), 0, model.vocabulary)
    params, made = model.init(jax.random.key(0)), adamws()
    tx = oc.packed(made["optchain"])

    def gradients(p: Any, state: Any, ids: Any) -> Any:
        return jax.grad(model.loss)(p, ids), state

    def step(tx: Any, loss: Callable[[Any, Any], Any]) -> Any:
        apply = chained(tx) if tx is not made["optax"] else plain(tx)
        return lambda p, state, ids: apply(p, state, jax.grad(loss)(p, ids))

    together = oc.pack(tx, params)
    ways = {
        "gradients alone": (gradients, params, ()),
        "optax": (step(made["optax"], model.loss), params, made["optax"].init(params)),
        "optchain": (step(made["optchain"], model.loss), params, made["optchain"].init(params)),
        "packed": (step(tx, lambda p, ids: model.loss(oc.unpack(p), ids)), together, jax.jit(tx.init)(together)),
    }
    steps, compiling = {}, {}
    for name, (function, p, state) in ways.items():
        donated = jax.jit(function, donate_argnums=(0, 1))
        p, state = jax.tree.map(jnp.copy, (p, state))
        compiled, compiling[name] = compile_timed(donated, p, state, ids)
        steps[name] = functools.partial(ten, Loop(compiled, p, state, ids).take)
    seconds = {name: min(times) / 10 for name, times in interleaved(steps, repeats).items()}
    base = seconds["gradients alone"]
    return [
        {"tree": f"{len(jax.tree.leaves(params))} leaves", "way": name, "compile s": compiling[name]}
        | {"compile, times": compiling[name] / compiling["optax"], "ms": 1e3 * seconds[name]}
        | {"share, ms": 1e3 * (seconds[name] - base)}
        for name in ways
    ]


class Loop:
    """A compiled step of training that replaces its own parameters and state."""

    def __init__(self, compiled: Any, params: Any, state: Any, ids: Any) -> None:
        self.compiled, self.params, self.state, self.ids = compiled, params, state, ids

    def take(self) -> None:
        self.params, self.state = jax.block_until_ready(self.compiled(self.params, self.state, self.ids))


def ten(take: Callable[[], None]) -> None:
    """Ten steps."""
    for _ in range(10):
        take()


def verdicts(rows: list[record.Row], trained: list[record.Row]) -> list[record.Row]:
    """The goals, and whether they are met."""
    found = [row for row in rows if row["way"] == "packed" and "Muon" not in row["tree"]]
    by_way = {row["way"]: row for row in trained}
    # Less than a hundredth of the gradients' own time cannot be told from nothing.
    least = by_way["gradients alone"]["ms"] / 100
    share = by_way["optax"]["share, ms"] / max(by_way["packed"]["share, ms"], least)
    goals = [
        record.goal(f"{row['tree']}: optax's {what} over packed", 1 / row[f"{what}, times"], 5, at_least=True)
        for row in found
        for what in ("compile", "step")
    ]
    goals.append(record.goal("whole step: optax's share over packed", share, 4, at_least=True))
    return [*goals, record.goal("whole step: compile over optax's", by_way["packed"]["compile, times"], 1.1)]
