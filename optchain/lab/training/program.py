"""What is compiled for an experiment."""

import functools
import time
from typing import Any

import jax

from optchain.lab.runs.config import Config
from optchain.lab.settings.load import flat
from optchain.lab.training.chunk import Carry, Setting, make_chunk, make_start
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.scoring import make_evaluate, models
from optchain.lab.training.transfer import transferred


class Program:
    """The compiled functions of an experiment, shared by all runs that differ only in their seed and in some numbers;
    and its data on the device."""

    def __init__(self, experiment: Experiment, varied: tuple[str, ...] = ()) -> None:
        self.experiment, self.varied = (
            experiment,
            varied,
        )  # dotted keys of the configuration, whose numbers are arguments of what is compiled
        task = experiment.task
        self.data = jax.device_put(task.splits)
        self.evaluate = make_evaluate(task, experiment.model)
        self._start = make_start(task, experiment.parts)
        self.chunk = make_chunk(task, experiment.parts)
        self._compiled: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._side_by_side: dict[tuple[int, int], Any] = {}

    def start(self, config: Config) -> Carry:
        """The carry of a run before its first step."""
        setting = self.setting(config)
        if config.start is None:
            return self._start(setting)
        return self._start(setting, transferred(config.start, self.experiment.shapes))

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
        arguments = carry, self.data["train"], self.setting(config, hyper or {})
        began = time.perf_counter()
        compiled = self.compiled(arguments, steps)
        ready = time.perf_counter()
        carry, logs = jax.block_until_ready(compiled(*arguments))
        return carry, logs, {"compiling": ready - began, "training": time.perf_counter() - ready}

    def memory(self, config: Config, carry: Carry, steps: int) -> Any:
        """What the compiler says of the memory that so many steps need."""
        return self.compiled((carry, self.data["train"], self.setting(config)), steps).memory_analysis()

    def compiled(self, arguments: tuple[Carry, Any, Setting], steps: int) -> Any:
        """So many steps, compiled for arguments of these shapes and names."""
        key = steps, tuple(sorted(arguments[2].hyper))
        if key not in self._compiled:
            self._compiled[key] = self.chunk.lower(*arguments, steps=steps).compile()
        return self._compiled[key]

    def side_by_side(self, arguments: Any, steps: int) -> tuple[Any, Any]:
        """The chunk of so many steps and the evaluation for many runs at once, whose carries and settings are stacked.

        Args:
            arguments: the carries, the training examples and the settings.
            steps: of a chunk.
        """
        key = len(arguments[0]["step"]), steps
        if key not in self._side_by_side:
            chunk = jax.vmap(functools.partial(self.chunk, steps=steps), in_axes=(0, None, 0))
            compiled = jax.jit(chunk, donate_argnums=0).lower(*arguments).compile()
            self._side_by_side[key] = compiled, jax.jit(jax.vmap(self._scores, in_axes=(0, None)))
        return self._side_by_side[key]

    def _scores(self, carry: Carry, data: Any) -> dict[str, Any]:
        return {name: self.evaluate(model, *data) for name, model in models(carry).items()}

    def reads(self, config: Config) -> set[str]:
        """Which of the varied numbers what is compiled depends on."""
        setting = self.setting(config)
        carry = jax.eval_shape(self._start, setting)
        traced = self._start.trace(setting), self.chunk.trace(carry, self.data["train"], setting, steps=1)
        return set().union(*(_used(part.jaxpr.jaxpr, sorted(setting.numbers)) for part in traced))

    def setting(self, config: Config, hyper: dict[str, float] | None = None) -> Setting:
        """The seed and the varied numbers of a configuration, and numbers of the chain for those of it."""
        values = flat(config.model_dump()) if self.varied else {}
        return Setting(config.train.seed, {key: float(values[key]) for key in self.varied}, hyper or {})


def _used(jaxpr: Any, names: list[str]) -> set[str]:
    """The names of the last arguments that anything is computed from."""
    read = {id(variable) for equation in jaxpr.eqns for variable in equation.invars}
    return {name for name, variable in zip(names, jaxpr.invars[-len(names) :], strict=True) if id(variable) in read}
