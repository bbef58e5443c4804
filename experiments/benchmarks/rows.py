"""Touched rows of a large embedding: the update alone, and a whole train step, beside dense optax and SparseAdam."""

import functools
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import record
from experiments.benchmarks.contenders import no_torch
from experiments.benchmarks.timing import interleaved, milliseconds
from experiments.tasks import embedding
from optchain.embeddings import touched
from optchain.embeddings.linen import Embed

RATE, FIELDS, BATCHES = 1e-3, 8, 16
# In a row, as a loop takes them: alone between two dense steps, which sweep the caches, a step on few rows begins cold.
STEPS = 10
SHARES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the rows that a step looks up, for the crossover


def run(rows: int, width: int, ids: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        rows: of the table.
        width: numbers in a row.
        ids: look-ups in a step.
        repeats: rounds of ten steps.
        out: file to append the rows to.
    """
    if (reason := no_torch()) is not None:
        print(reason)
    batches = zipf(rows, ids)
    measured = []
    for what, contenders in (("update", updates), ("train step", train_steps)):
        measured += measure(what, contenders(rows, width, batches), repeats)
    record.show(f"Adam on a table of {rows} x {width}, {ids} look-ups a step", measured)
    goals = check(measured)
    record.show("Goals", goals)
    shares = crossover(min(rows, 100_000), width, repeats)
    record.show("The whole table at once, where many rows are looked up", shares)
    record.append(out, [*measured, *goals, *shares])
    return out


def zipf(rows: int, ids: int) -> list[np.ndarray]:
    """Look-ups of some steps, the n-th row about 1 / n as often as the first."""
    draw = np.random.default_rng(0)
    return [embedding.zipf(draw, rows, ids).astype(np.int32) for _ in range(BATCHES)]


class Steps:
    """A compiled step that is taken with one batch after the other, and replaces its own parameters and state."""

    def __init__(self, step: Callable[..., Any], params: Any, tx: Any, batches: Iterable[Any]) -> None:
        self.params = jax.tree.map(jnp.copy, params)
        self.state = jax.jit(tx.init)(params)
        batches = list(batches)
        self.compiled = jax.jit(step, donate_argnums=(0, 1)).lower(self.params, self.state, batches[0]).compile()
        self.batches = itertools.cycle(batches)

    def take(self) -> None:
        batch = next(self.batches)
        self.params, self.state = jax.block_until_ready(self.compiled(self.params, self.state, batch))

    @property
    def temporary(self) -> int:
        """Bytes that the step needs besides its arguments and results."""
        return self.compiled.memory_analysis().temp_size_in_bytes


def transformations() -> dict[str, Any]:
    """Adam in the ways that rows can be updated."""
    return {
        "rows, lazy": oc.rows(oc.adam(RATE), mode="lazy"),
        "rows, decay-corrected": oc.rows(oc.adam(RATE)),
        "rows, decay-corrected adamw": oc.rows(oc.adamw(RATE, weight_decay=0.01)),
    }


def updates(rows: int, width: int, batches: list[np.ndarray]) -> dict[str, Any]:
    """The update alone, from gradients that are there."""
    table = {"embedding": jnp.zeros((rows, width))}
    values = jnp.asarray(np.random.default_rng(1).normal(size=(len(batches[0]), width)), jnp.float32)
    rowed = [{"embedding": oc.RowGradient(jnp.asarray(ids), values, rows)} for ids in batches]
    dense = [{"embedding": rowed[0]["embedding"].dense()}]

    def step(tx: Any) -> Callable[..., Any]:
        return lambda params, state, grads: oc.apply(tx, grads, state, params)

    theirs = optax.adam(RATE)
    contenders: dict[str, Any] = {"optax, dense": Steps(step(theirs), table, theirs, dense)}
    for name, tx in transformations().items():
        contenders[name] = Steps(step(tx), table, tx, rowed)
    if no_torch() is None:
        from experiments.benchmarks.sparse_torch import SparseUpdate

        contenders["torch SparseAdam"] = SparseUpdate(rows, width, batches, np.asarray(values), RATE)
    return contenders


class Clicks(nn.Module):
    """An embedding, and a small network over the rows of an example."""

    embed: Any
    rows: int
    width: int

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        looked = self.embed(self.rows, self.width, name="embed")(ids)
        x = nn.relu(nn.Dense(64)(looked.reshape(len(ids), -1)))
        return nn.Dense(1)(x)[:, 0]


def train_steps(rows: int, width: int, batches: list[np.ndarray]) -> dict[str, Any]:
    """A whole train step of a Flax model."""
    clicked = jnp.asarray(np.random.default_rng(2).integers(0, 2, len(batches[0]) // FIELDS), jnp.float32)
    examples = [jnp.asarray(ids[: len(clicked) * FIELDS].reshape(-1, FIELDS)) for ids in batches]

    def make(embed: Any, tx: Any, differentiate: Callable[..., Any]) -> Steps:
        model = Clicks(embed, rows, width)
        params = jax.jit(lambda: model.init(jax.random.key(0), examples[0])["params"])()

        def loss(params: Any, ids: jax.Array) -> jax.Array:
            outputs = model.apply({"params": params}, ids)
            return optax.losses.sigmoid_binary_cross_entropy(outputs, clicked).mean()

        def step(params: Any, state: Any, ids: jax.Array) -> Any:
            _, grads = differentiate(loss)(params, ids)
            return oc.apply(tx, grads, state, params)

        return Steps(step, params, tx, examples)

    contenders: dict[str, Any] = {"optax, dense": make(nn.Embed, optax.adam(RATE), jax.value_and_grad)}
    for name, tx in transformations().items():
        contenders[name] = make(Embed, tx, functools.partial(oc.row_value_and_grad, tables="*/embedding"))
    if no_torch() is None:
        from experiments.benchmarks.sparse_torch import SparseTraining

        contenders["torch SparseAdam"] = SparseTraining(
            rows, width, [np.asarray(x) for x in examples], np.asarray(clicked), RATE
        )
    return contenders


def measure(what: str, contenders: dict[str, Any], repeats: int) -> list[record.Row]:
    """A row for each contender."""
    seconds = several(contenders, repeats)
    dense = min(seconds["optax, dense"])
    return [
        {
            "what": what,
            "contender": name,
            **milliseconds(seconds[name]),
            "temporary_mb": contender.temporary / 1e6 if isinstance(contender, Steps) else None,
            "times_faster": dense / min(seconds[name]),
        }
        for name, contender in contenders.items()
    ]


def several(contenders: dict[str, Any], repeats: int) -> dict[str, list[float]]:
    """The mean seconds of a step, several taken in a row in each round."""

    def take(contender: Any) -> None:
        for _ in range(STEPS):
            contender.take()

    seconds = interleaved({name: functools.partial(take, contender) for name, contender in contenders.items()}, repeats)
    return {name: [x / STEPS for x in times] for name, times in seconds.items()}


def check(rows: list[record.Row]) -> list[record.Row]:
    """The goals: much faster than dense, and no slower than torch."""
    goals = []
    for what, least in (("update", 300), ("train step", 150)):
        by_name = {row["contender"]: row for row in rows if row["what"] == what}
        for name in ("rows, lazy", "rows, decay-corrected"):
            goals.append(
                record.goal(f"{what}, {name}: times faster", by_name[name]["times_faster"], least, at_least=True)
            )
            if "torch SparseAdam" in by_name:
                ratio = by_name[name]["ms_min"] / by_name["torch SparseAdam"]["ms_min"]
                goals.append(record.goal(f"{what}, {name}: time over torch", ratio, 1))
    return goals


def crossover(rows: int, width: int, repeats: int) -> list[record.Row]:
    """The time of a step on gathered rows over that of one on the whole table, for growing shares of look-ups."""
    tx, params, table = oc.rows(oc.adam(RATE)), {"embedding": jnp.zeros((rows, width))}, []
    kept = touched.CROSSOVER
    for share in SHARES:
        draw, n = np.random.default_rng(0), round(share * rows)
        ids = [jnp.asarray(draw.integers(0, rows, n), jnp.int32) for _ in range(2)]
        grads = [{"embedding": oc.RowGradient(x, jnp.ones((n, width)), rows)} for x in ids]
        ways = {}
        for way, limit in (("gathered", 2.0), ("whole", 0.0)):
            touched.CROSSOVER = limit
            ways[way] = Steps(lambda params, state, g: oc.apply(tx, g, state, params), params, tx, grads)
        touched.CROSSOVER = kept
        seconds = several(ways, repeats)
        least = {way: min(times) for way, times in seconds.items()}
        row = {"look_ups_per_row": share, "gathered_ms": 1e3 * least["gathered"], "whole_ms": 1e3 * least["whole"]}
        table.append(row | {"gathered_over_whole": least["gathered"] / least["whole"], "chosen_from": kept})
    return table
