"""Runs side by side: as many lanes as fit, each with a run of its own, advanced by one compiled call."""

import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.base.memory import free_memory
from optchain.lab.data.task import Task
from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import Logs
from optchain.lab.runs.run import Run
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.evaluate import counted
from optchain.lab.training.program import Program
from optchain.lab.training.resume import no_progress
from optchain.lab.training.rows import evaluation_row, steps_before_divergence
from optchain.lab.training.scoring import models
from optchain.lab.training.seconds import columns, none_yet, spent, total
from optchain.lab.training.spread import spread_over

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
    seconds: dict[str, float] = dataclasses.field(default_factory=none_yet)


class Lanes:
    """Runs of one program. They may begin and end at different times: a lane that has become free takes the next run.

    Each lane computes what the trainer would, to rounding: XLA adds up in another order. It writes no checkpoints by
    itself, and its logs have the evaluations only. Where the number of lanes is a multiple of the devices, each device
    has its share of them.
    """

    def __init__(self, program: Program, config: Config, width: int) -> None:
        """
        Args:
            program: whose runs these are.
            config: of one of them.
            width: the number of lanes.
        """
        require_side_by_side(config, program.experiment.task)
        self.program, self.every = program, config.train.evaluate_every
        self.lanes: list[Lane | None] = [None] * width
        setting = program.setting(config)
        self.settings = jax.tree.map(lambda x: np.stack([np.asarray(x)] * width), setting)
        # A mesh of the configuration divides each run; the lanes are then not divided as well.
        self.spread = None if config.mesh else spread_over(width)
        self.data, layout = self._copied(program.data), self.spread.stacked if self.spread else None
        stacked = jax.jit(
            lambda x: jax.tree.map(lambda x: jnp.broadcast_to(x, (width, *x.shape)), x), out_shardings=layout
        )
        self.carry = stacked(self._copied(program.start(config)))
        self.compiling = 0.0  # not yet counted as any run's
        began = time.perf_counter()
        self._chunk, self._evaluate = program.side_by_side(self._arguments(), self.every, self.spread)
        self.compiling += time.perf_counter() - began
        self._place = jax.jit(
            lambda carry, fresh, i: jax.tree.map(lambda x, y: x.at[i].set(y), carry, fresh),
            donate_argnums=0,
            out_shardings=layout,
        )

    def _copied(self, tree: Any) -> Any:
        """What all lanes read, or what is put into one of them, where they find it."""
        return jax.device_put(tree, self.spread.copied) if self.spread else tree

    def _arguments(self) -> tuple[Any, Any, Any]:
        """What a chunk takes, where it lies while the lanes advance."""
        if self.spread is None:
            return self.carry, self.data["train"], self.settings
        self.carry = jax.device_put(self.carry, self.spread.stacked)  # it may have been restored, or exchanged
        return self.carry, self.data["train"], jax.device_put(self.settings, self.spread.stacked)

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
        self.carry = self._place(self.carry, self._copied(self.program.start(config)), i)
        return lane

    def drop(self, lane: Lane) -> None:
        """Take a run's lane away."""
        self.lanes[self.lanes.index(lane)] = None

    def advance(self) -> list[tuple[Lane, dict[str, Any] | None]]:
        """Make the steps up to the next evaluation in all lanes.

        Returns:
            Each run with the row of its evaluation, or with None where it has diverged.
        """
        took, count, split = none_yet(), len(self.running), "validation" if "validation" in self.data else "train"
        with spent(took, "training"):
            self.carry, logs = jax.block_until_ready(self._chunk(*self._arguments()))
        with spent(took, "evaluating"):
            scores = self._evaluate(self.carry, self.data[split])
            losses = scores[counted(scores)]["loss"]
            self.carry["validation"] = losses.astype(jnp.float32)
            logs, scores = jax.tree.map(np.asarray, (logs, scores))
        took["compiling"], self.compiling = took["compiling"] + self.compiling, 0.0
        shares = {name: x / count for name, x in took.items()}
        return [
            (lane, self._advanced(lane, jax.tree.map(lambda x, i=i: x[i], (logs, scores)), split, shares))
            for i, lane in enumerate(list(self.lanes))
            if lane is not None
        ]

    def _advanced(self, lane: Lane, output: Any, split: str, shares: dict[str, float]) -> dict[str, Any] | None:
        logs, scores = output[0], {model: {k: float(v) for k, v in table.items()} for model, table in output[1].items()}
        lane.seconds = total([lane.seconds, shares])
        good = steps_before_divergence(logs)
        if good < self.every or not math.isfinite(scores[counted(scores)]["loss"]):
            lane.step, lane.scores = lane.step + min(good + 1, self.every), {}
            return None
        lane.step, lane.scores = lane.step + self.every, {split: scores}
        row = evaluation_row(lane.step, logs, scores, split)
        row |= {"steps_per_second": self.every / shares["training"], **columns(lane.seconds)}
        lane.logs.evaluation(row)
        return row

    def scores(self, split: str) -> list[dict[str, float]]:
        """The loss and the metric, on a split, of the model that counts in each lane, also of a run that has ended."""
        scores = self._evaluate(self.carry, self.data[split])
        numbers = {name: np.asarray(x) for name, x in scores[counted(scores)].items()}
        return [{name: float(x[i]) for name, x in numbers.items()} for i in range(len(self.lanes))]

    def drain(self) -> None:
        """Make all runs' steps that are left, and write their results."""
        while self.running:
            for lane, row in self.advance():
                if row is None or lane.step == lane.config.train.steps:
                    self.end(lane, "diverged" if row is None else "finished")

    def save(self, lane: Lane) -> None:
        """Keep a run's models as they are now, as a checkpoint."""
        i, checkpoints = self.lanes.index(lane), Checkpoints(lane.run.folder / "checkpoints")
        carry = jax.tree.map(lambda x: jnp.asarray(np.asarray(x[i])), self.carry)  # on one device
        progress = no_progress(lane.config) | lane.seconds | {"step": lane.step, "best_step": lane.step}
        checkpoints.save(carry, models(carry), progress)
        checkpoints.close()

    def end(self, lane: Lane, ending: str) -> dict[str, Any]:
        """Write a run's result, and take its lane away."""
        scored = {"scored_step": lane.step, "scores": lane.scores} if ending == "finished" else {"scores": {}}
        result = {"ending": ending, "step": lane.step, **scored, "seconds": lane.seconds}
        lane.run.write("result.json", result)
        self.drop(lane)
        return result


def require_side_by_side(config: Config, task: Task) -> None:
    """A configuration's runs can go side by side on a task.

    Raises:
        InputError: they cannot.
    """
    if task.stream is not None:
        why = "the task is a stream, of which each lane would read other examples at each step"
        raise InputError(f"search.parallel = 'vmap': {why}; leave search.parallel out, or take 'processes'")
    train = config.train
    if train.steps % train.evaluate_every:
        wanted = f"expected a train.steps = {train.steps} that is a multiple of train.evaluate_every"
        raise InputError(f"search.parallel = 'vmap' evaluates all lanes at once: {wanted} = {train.evaluate_every}")
    for name in ("early_stopping", "diverged_above", "snapshots"):
        if getattr(train, name):
            raise InputError(f"train.{name}: lanes are not watched one by one; expected search.parallel = 'processes'")
    if config.grow:
        raise InputError("grow: lanes have one program; expected search.parallel = 'processes'")
    for name in ("callbacks", "trackers"):
        if getattr(config, name):
            raise InputError(f"{name}: lanes are not watched one by one; expected search.parallel = 'processes'")


def fitting(program: Program, config: Config, runs: int, asked: int | None, least: int) -> Lanes:
    """The lanes that were asked for, else as many as there are runs and fit into the free memory; `least` at least.

    Of several devices each gets as many, where there are runs for all.
    """
    if asked:
        return Lanes(program, config, max(asked, least))
    devices = 1 if config.mesh else len(jax.local_devices())
    width = _even(max(least, min(runs, MOST * devices)), devices, least)
    while True:
        lanes = Lanes(program, config, width)
        if width == least or lanes.bytes <= SHARE * free_memory():
            return lanes
        width = _even(max(width // 2, least), devices, least)


def _even(width: int, devices: int, least: int) -> int:
    """The largest multiple of the devices up to a width, unless it would be too small."""
    return max(width // devices * devices or width, least)
