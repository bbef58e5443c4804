"""What is compiled for an experiment."""

import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.chunk import Carry, Setting, make_chunk, make_evaluate, make_start
from experiments.config import flat
from experiments.experiment import Experiment
from experiments.tables import Config


class Program:
    """The compiled functions of an experiment, shared by all runs that differ only in their seed and in some numbers;
    and its data on the device."""

    def __init__(self, experiment: Experiment, varied: Sequence[str] = ()) -> None:
        self.varied = varied  # dotted keys of the configuration, whose numbers are arguments of what is compiled
        task = experiment.task
        self.data = jax.device_put(task.splits)
        self.evaluate = make_evaluate(task, experiment.model)
        self._start = make_start(task, experiment.parts)
        self._chunk = make_chunk(task, experiment.parts)
        self._compiled: dict[tuple[int, tuple[str, ...]], Any] = {}

    def start(self, config: Config) -> Carry:
        """The carry of a run before its first step."""
        return self._start(self._setting(config, {}))

    def run(
        self, config: Config, carry: Carry, steps: int, hyper: dict[str, float] | None = None
    ) -> tuple[Carry, dict[str, Any], dict[str, float]]:
        """So many steps of a run: the new carry, the logs, and the seconds of `compiling` and of `training`.

        Args:
            config: of the run.
            carry: where it stands.
            steps: how many.
            hyper: numbers of the chain for those of the configuration. The first time that these names are given the
                steps are compiled anew; without any they are compiled as if there were no such thing.
        """
        arguments = carry, self.data["train"], self._setting(config, hyper or {})
        began = time.perf_counter()
        compiled = self.compiled(arguments, steps)
        ready = time.perf_counter()
        carry, logs = jax.block_until_ready(compiled(*arguments))
        return carry, logs, {"compiling": ready - began, "training": time.perf_counter() - ready}

    def memory(self, config: Config, carry: Carry, steps: int) -> Any:
        """What the compiler says of the memory that so many steps need."""
        return self.compiled((carry, self.data["train"], self._setting(config, {})), steps).memory_analysis()

    def compiled(self, arguments: tuple[Carry, Any, Setting], steps: int) -> Any:
        """So many steps, compiled for arguments of these shapes and names."""
        key = steps, tuple(sorted(arguments[2].hyper))
        if key not in self._compiled:
            self._compiled[key] = self._chunk.lower(*arguments, steps=steps).compile()
        return self._compiled[key]

    def _setting(self, config: Config, hyper: dict[str, float]) -> Setting:
        values = flat(config.model_dump()) if self.varied else {}
        return Setting(config.train.seed, {key: float(values[key]) for key in self.varied}, hyper)
