"""What is compiled for an experiment."""

import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.chunk import Carry, Setting, make_chunk, make_evaluate, make_start
from experiments.config import flat
from experiments.experiment import Experiment
from experiments.tables import Config
from experiments.transfer import transferred


class Program:
    """The compiled functions of an experiment, shared by all runs that differ only in their seed and in some numbers;
    and its data on the device."""

    def __init__(self, experiment: Experiment, varied: Sequence[str] = ()) -> None:
        self.varied = varied  # dotted keys of the configuration, whose numbers are arguments of what is compiled
        task = experiment.task
        self.data = jax.device_put(task.splits)
        self.evaluate = make_evaluate(task, experiment.model)
        self._start = make_start(task, experiment.parts)
        train = experiment.config.train
        self._chunk = make_chunk(task, experiment.parts, train.batch, train.sampling)
        self._compiled: dict[int, Any] = {}

    def start(self, config: Config) -> Carry:
        """The carry of a run before its first step."""
        setting = self._setting(config)
        if config.start is None:
            return self._start(setting)
        return self._start(setting, transferred(config.start, jax.eval_shape(self._start, setting)))

    def run(self, config: Config, carry: Carry, steps: int) -> tuple[Carry, dict[str, Any], dict[str, float]]:
        """So many steps of a run: the new carry, the logs, and the seconds of `compiling` and of `training`."""
        arguments = carry, self.data["train"], self._setting(config)
        began = time.perf_counter()
        if steps not in self._compiled:
            self._compiled[steps] = self._chunk.lower(*arguments, steps=steps).compile()
        compiled = time.perf_counter()
        carry, logs = jax.block_until_ready(self._compiled[steps](*arguments))
        return carry, logs, {"compiling": compiled - began, "training": time.perf_counter() - compiled}

    def _setting(self, config: Config) -> Setting:
        values = flat(config.model_dump()) if self.varied else {}
        return Setting(config.train.seed, {key: float(values[key]) for key in self.varied})
