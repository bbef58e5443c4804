"""Whether training ends at the loss of float32 where slots are stored in codes, and parameters split."""

import dataclasses
import math
import statistics
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import record
from optchain.core.walk import rewritten
from optchain.lab.runs.config import Config, load
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.storage.codes import Code
from optchain.storage.storage import Storage

CONFIG = "configs/text/float32.toml"
CHUNK, LAST = 50, 3  # steps of a compiled call, and how many calls at the end are followed by an evaluation
PLAIN = "float32"
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "int8": {"slots": "int8"},
    "int4": {"slots": "int4"},
    "split": {"params": "split"},
    "split, int8": {"params": "split", "slots": "int8"},
    "split8, int8": {"params": "split8", "slots": "int8"},
}
LINEAR, FLOORED = "linear 8 bits", "linear 8 bits, positive stays positive"
# The mean difference from float32's validation loss, as a part of it.
GOALS = {"int8": 0.005, "int4": 0.015, "split": 0.002, "split, int8": 0.002, "split8, int8": 0.002}


class Linear(Code):
    """Levels even in the magnitude itself: what codes are not, to see why."""

    def _root(self, part: jax.Array) -> jax.Array:
        return part

    def _raised(self, level: jax.Array) -> jax.Array:
        return level / self.top


def linear(tx: optax.GradientTransformation, least: int) -> optax.GradientTransformation:
    """The transformation whose means and squares are stored in linear codes of 8 bits, to nearest.

    Args:
        tx: any transformation.
        least: the least level of a positive square: with 0 it may become 0.
    """

    def change(link: Any) -> Any:
        if set(getattr(link, "rule", None) and link.rule.kinds or ()) != {"mu", "nu"}:
            return link
        codes = {slot: Linear(8, slot == "mu", 1, False, least * (slot == "nu")) for slot in ("mu", "nu")}
        return dataclasses.replace(link, storage=Storage(codes, 0, 4096, None))

    return rewritten(tx, change)


def run(steps: int, seeds: int, batch: int, only: list[str]) -> Iterator[record.Row]:
    """A row for each run, all ways of storing with one seed before the next one.

    Args:
        steps: of a run.
        seeds: of the parameters and of the batches, from 0; the same for all ways.
        batch: examples of a step.
        only: names of ways beside float32; all if left empty.
    """
    ways = [PLAIN, *(way for way in only or [*WAYS, LINEAR] if way != PLAIN)]
    programs = {way: program(way, steps, batch) for way in ways}
    for seed in range(seeds):
        for way, its in programs.items():
            config = its.experiment.config
            config = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
            yield {"stored": way, "steps": steps, "batch": batch, "seed": seed, "loss": ended(its, config, steps)}


def program(name: str, steps: int, batch: int) -> Program:
    """What is compiled once for all seeds of a way of storing."""
    way = WAYS.get(name, {})
    dtype = "bfloat16" if "params" in way else "float32"
    sets = [f"model.dtype={dtype}", f"train.steps={steps}", f"train.batch={batch}"]
    built = build(load(CONFIG, sets), CONFIG)
    tx = linear(built.tx, int(name == FLOORED)) if name in (LINEAR, FLOORED) else built.tx
    return Program(dataclasses.replace(built, tx=oc.precision(tx, **way) if way else tx))


def ended(program: Program, config: Config, steps: int) -> float:
    """The mean validation loss of the last evaluations of one run; NaN if it diverges."""
    carry, losses = program.start(config), []
    chunk = min(CHUNK, steps)
    for left in reversed(range(steps // chunk)):
        carry, logs, _ = program.run(config, carry, chunk)
        if not np.isfinite(np.asarray(logs["loss"])).all():
            return math.nan
        if left < LAST:
            variables = {"params": carry["params"], "rest": carry["rest"]}
            losses.append(float(program.evaluate(variables, *program.data["validation"])["loss"]))
    return statistics.fmean(losses)


def compared(runs: list[record.Row]) -> Iterator[record.Row]:
    """A row for each way: its loss, and how far from float32's with the same seed, over all seeds."""
    losses = {(row["stored"], row["seed"]): row["loss"] for row in runs}
    for way in dict.fromkeys(row["stored"] for row in runs):
        seeds = [seed for name, seed in losses if name == way]
        apart = [100 * (losses[way, seed] / losses[PLAIN, seed] - 1) for seed in seeds]
        yield {
            "stored": way,
            "seeds": len(seeds),
            "loss": statistics.fmean(losses[way, seed] for seed in seeds),
            "off float32 %": statistics.fmean(apart),
            "least %": min(apart),
            "most %": max(apart),
        }


def goals(rows: list[record.Row]) -> Iterator[record.Row]:
    """What is to be reached, and that a linear code does not reach it."""
    for row in rows:
        name, apart = row["stored"], abs(row["off float32 %"]) / 100
        if name in GOALS:
            yield record.goal(f"{name}: validation loss off float32's", apart, GOALS[name])
        if name == LINEAR:
            far = math.inf if math.isnan(apart) else apart
            yield record.goal(f"{name}: validation loss off float32's", far, GOALS["int8"], at_least=True)
