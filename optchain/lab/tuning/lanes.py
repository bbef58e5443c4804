"""Runs side by side on one device: as many lanes as fit, each with a run of its own, advanced by one compiled call."""

import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.base.memory import free_memory
from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import Logs
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import counted
from optchain.lab.training.program import Program
from optchain.lab.training.rows import evaluation_row, steps_before_divergence

SHARE = 0.5  # of the free memory that the lanes may take
MOST = 64  # lanes, unless more are asked for


@dataclasses.dataclass
class Lane:
    """A run in progress."""

    run: Run
    config: Config
    owner: Any
    logs: Logs
    step: int
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)  # by split and model, at the last evaluation
    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: {"compiling": 0.0, "training": 0.0})


class Lanes:
    """Runs of one program. They may begin and end at different times: a lane that has become free takes the next run.

    Each lane computes what the trainer would, to rounding: XLA adds up in another order. It keeps no checkpoints, and
    its logs have the evaluations only.
    """

    def __init__(self, program: Program, config: Config, width: int) -> None:
        """
        Args:
            program: whose runs these are.
            config: of one of them.
            width: the number of lanes.
        """
        require_side_by_side(config)
        self.program, self.every = program, config.train.evaluate_every
        self.lanes: list[Lane | None] = [None] * width
        setting = program.setting(config)
        fresh = program.start(config)
        self.settings = jax.tree.map(lambda x: np.stack([np.asarray(x)] * width), setting)
        self.carry = jax.tree.map(lambda x: jnp.stack([x] * width), fresh)
        self.compiling = 0.0  # not yet counted as any run's
        began = time.perf_counter()
        self._chunk, self._evaluate = program.side_by_side(
            (self.carry, program.data["train"], self.settings), self.every
        )
        self.compiling += time.perf_counter() - began
        self._place = jax.jit(
            lambda carry, fresh, i: jax.tree.map(lambda x, y: x.at[i].set(y), carry, fresh), donate_argnums=0
        )

    @property
    def bytes(self) -> int:
        """The memory that advancing takes."""
        memory = self._chunk.memory_analysis()
        return memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes

    @property
    def running(self) -> list[Lane]:
        """The runs in progress."""
        return [lane for lane in self.lanes if lane is not None]

    def begin(self, run: Run, config: Config, owner: Any, step: int = 0) -> Lane:
        """Give a run a lane, before its first step.

        Args:
            run: its folder.
            config: its configuration.
            owner: whatever the caller wants to find in the lane.
            step: that the caller is about to put in the lane's carry.
        """
        i = self.lanes.index(None)
        logs = Logs(run.folder, config.train.log_every)
        logs.cut(step)
        self.lanes[i] = lane = Lane(run, config, owner, logs, step)
        setting = self.program.setting(config)
        jax.tree.map(lambda x, y: x.__setitem__(i, y), self.settings, setting)
        self.carry = self._place(self.carry, self.program.start(config), i)
        return lane

    def drop(self, lane: Lane) -> None:
        """Take a run's lane away."""
        self.lanes[self.lanes.index(lane)] = None

    def advance(self) -> list[tuple[Lane, dict[str, Any] | None]]:
        """Make the steps up to the next evaluation in all lanes.

        Returns:
            Each run with the row of its evaluation, or with None where it has diverged.
        """
        began, running = time.perf_counter(), self.running
        data, split = self.program.data, "validation" if "validation" in self.program.data else "train"
        self.carry, logs = self._chunk(self.carry, data["train"], self.settings)
        scores = self._evaluate(self.carry, data[split])
        losses = scores[counted(scores)]["loss"]
        self.carry["validation"] = losses.astype(jnp.float32)
        logs, scores = jax.tree.map(np.asarray, (logs, scores))
        share = (time.perf_counter() - began) / len(running)
        compiling, self.compiling = self.compiling / len(running), 0.0
        return [
            (lane, self._advanced(lane, jax.tree.map(lambda x, i=i: x[i], (logs, scores)), split, share, compiling))
            for i, lane in enumerate(list(self.lanes))
            if lane is not None
        ]

    def _advanced(self, lane: Lane, output: Any, split: str, share: float, compiling: float) -> dict[str, Any] | None:
        logs, scores = output[0], {model: {k: float(v) for k, v in table.items()} for model, table in output[1].items()}
        lane.seconds["training"] += share
        lane.seconds["compiling"] += compiling
        good = steps_before_divergence(logs)
        if good < self.every or not math.isfinite(scores[counted(scores)]["loss"]):
            lane.step, lane.scores = lane.step + min(good + 1, self.every), {}
            return None
        lane.step, lane.scores = lane.step + self.every, {split: scores}
        row = evaluation_row(lane.step, logs, scores, split)
        row |= {"steps_per_second": self.every / share, "seconds": lane.seconds["training"]}
        lane.logs.evaluation(row)
        return row

    def scores(self, split: str) -> list[dict[str, float]]:
        """The loss and the metric, on a split, of the model that counts in each lane, also of a run that has ended."""
        scores = self._evaluate(self.carry, self.program.data[split])
        numbers = {name: np.asarray(x) for name, x in scores[counted(scores)].items()}
        return [{name: float(x[i]) for name, x in numbers.items()} for i in range(len(self.lanes))]

    def drain(self) -> None:
        """Make all runs' steps that are left, and write their results."""
        while self.running:
            for lane, row in self.advance():
                if row is None or lane.step == lane.config.train.steps:
                    self.end(lane, "diverged" if row is None else "finished")

    def end(self, lane: Lane, ending: str) -> dict[str, Any]:
        """Write a run's result, and take its lane away."""
        scored = {"scored_step": lane.step, "scores": lane.scores} if ending == "finished" else {"scores": {}}
        result = {"ending": ending, "step": lane.step, **scored, "seconds": lane.seconds}
        lane.run.write("result.json", result)
        self.drop(lane)
        return result


def require_side_by_side(config: Config) -> None:
    """A configuration's runs can go side by side.

    Raises:
        InputError: they cannot.
    """
    train = config.train
    if train.steps % train.evaluate_every:
        wanted = f"expected a train.steps = {train.steps} that is a multiple of train.evaluate_every"
        raise InputError(f"search.parallel = 'vmap' evaluates all lanes at once: {wanted} = {train.evaluate_every}")
    for name in ("early_stopping", "diverged_above", "snapshots"):
        if getattr(train, name):
            raise InputError(f"train.{name}: lanes are not watched one by one; expected search.parallel = 'processes'")
    for name in ("callbacks", "trackers"):
        if getattr(config, name):
            raise InputError(f"{name}: lanes are not watched one by one; expected search.parallel = 'processes'")


def fitting(program: Program, config: Config, runs: int, asked: int | None, least: int) -> Lanes:
    """The lanes that were asked for, else as many as there are runs and fit into the free memory; `least` at least."""
    if asked:
        return Lanes(program, config, max(asked, least))
    width = max(least, min(runs, MOST))
    while True:
        lanes = Lanes(program, config, width)
        if width == least or lanes.bytes <= SHARE * free_memory():
            return lanes
        width = max(width // 2, least)
