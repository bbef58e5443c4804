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
        self.chunk = make_chunk(task, experiment.parts, experiment.config.train.batch)
        self._compiled: dict[int, Any] = {}

    def start(self, config: Config) -> Carry:
        """The carry of a run before its first step."""
        return self._start(self.setting(config))

    def run(self, config: Config, carry: Carry, steps: int) -> tuple[Carry, dict[str, Any], dict[str, float]]:
        """So many steps of a run: the new carry, the logs, and the seconds of `compiling` and of `training`."""
        arguments = carry, self.data["train"], self.setting(config)
        began = time.perf_counter()
        if steps not in self._compiled:
            self._compiled[steps] = self.chunk.lower(*arguments, steps=steps).compile()
        compiled = time.perf_counter()
        carry, logs = jax.block_until_ready(self._compiled[steps](*arguments))
        return carry, logs, {"compiling": compiled - began, "training": time.perf_counter() - compiled}

    def reads(self, config: Config) -> set[str]:
        """Which of the varied numbers what is compiled depends on."""
        setting = self.setting(config)
        carry = jax.eval_shape(self._start, setting)
        traced = self._start.trace(setting), self.chunk.trace(carry, self.data["train"], setting, steps=1)
        return set().union(*(_used(one.jaxpr.jaxpr, sorted(setting.numbers)) for one in traced))

    def setting(self, config: Config) -> Setting:
        """The seed and the varied numbers of a configuration."""
        values = flat(config.model_dump()) if self.varied else {}
        return Setting(config.train.seed, {key: float(values[key]) for key in self.varied})


def _used(jaxpr: Any, names: list[str]) -> set[str]:
    """The names of the last arguments that anything is computed from."""
    read = {id(variable) for equation in jaxpr.eqns for variable in equation.invars}
    return {name for name, variable in zip(names, jaxpr.invars[-len(names) :], strict=True) if id(variable) in read}
