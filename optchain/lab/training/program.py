"""What is compiled for an experiment."""

import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from optchain.lab.runs.config import Config
from optchain.lab.settings.load import flat
from optchain.lab.training.chunk import Carry, Setting, make_chunk
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.feed import Feed
from optchain.lab.training.grow import staged
from optchain.lab.training.scoring import make_evaluate, models
from optchain.lab.training.spread import Spread
from optchain.lab.training.start import make_start
from optchain.lab.training.transfer import transferred


class Program:
    """The compiled functions of an experiment, shared by all runs that differ only in their seed and in some numbers;
    and its data on the device, or what reads them."""

    def __init__(self, experiment: Experiment, varied: tuple[str, ...] = (), like: "Program | None" = None) -> None:
        """
        Args:
            experiment: that is compiled.
            varied: dotted keys of the configuration, whose numbers are arguments of what is compiled.
            like: a program of the same data, which are shared.
        """
        self.experiment, self.varied = experiment, varied
        task = experiment.task
        layout = self.layout = experiment.layout
        self.data = like.data if like else jax.device_put(task.splits, layout.replicated)
        train = experiment.config.train
        feed = like.feed if like else None
        if task.stream and feed is None:
            feed = Feed(task, train.policy.largest, layout, train.sampling == "balanced")
        self.feed = feed
        self.evaluate = make_evaluate(task, experiment.model, layout=layout)
        self._start = make_start(task, experiment.parts, layout)
        self.chunk = make_chunk(task, experiment.parts, layout)
        self._compiled: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._side_by_side: dict[tuple[int, int], Any] = {}
        self._stages: dict[int, Program] = {}

    def at_stage(self, stage: int) -> "Program":
        """The program after so many growths of the model; its own is that before the first one."""
        if stage and stage not in self._stages:
            self._stages[stage] = Program(staged(self.experiment, stage), self.varied, self)
        return self._stages[stage] if stage else self

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
        setting, compiling, logs = self.setting(config, hyper or {}), 0.0, []
        began = time.perf_counter()
        for data, count in self.examples(config, carry, steps):
            asked = time.perf_counter()
            compiled = self.compiled((carry, data, setting), count)
            compiling += time.perf_counter() - asked
            carry, more = compiled(carry, data, setting)
            jax.block_until_ready(logs[-1:])  # no more than one call waits for another
            logs.append(more)
        jax.block_until_ready((carry, logs))
        training = time.perf_counter() - began - compiling
        whole = logs[0] if len(logs) == 1 else jax.tree.map(lambda *xs: np.concatenate(xs), *logs)
        return carry, whole, {"compiling": compiling, "training": training}

    def examples(self, config: Config, carry: Carry, steps: int) -> Iterator[tuple[Any, int]]:
        """What the next steps of a run are trained on, compiled call by call, each with its number of steps."""
        if self.feed is None:
            return iter([(self.data["train"], steps)])
        return self.feed.take(config.train.seed, int(carry["examples"]), steps)

    def __enter__(self) -> None:
        """Steps are made within; at the end no examples are read ahead any more."""

    def __exit__(self, *_: object) -> None:
        if self.feed is not None:
            self.feed.close()

    def memory(self, config: Config, carry: Carry, steps: int) -> Any:
        """What the compiler says of the memory that so many steps need."""
        return self.compiled((carry, self._shapes(steps), self.setting(config)), steps).memory_analysis()

    def compile_ahead(self, config: Config, carry: Carry, steps: int) -> None:
        """Compile what `run` needs for so many steps.

        Args:
            config: of the run.
            carry: the shapes of its carry.
            steps: how many.
        """
        for length in {steps} if self.feed is None else set(self.feed.lengths(steps)):
            self.compiled((carry, self._shapes(length), self.setting(config)), length)

    def _shapes(self, steps: int) -> Any:
        """What stands for the examples of so many steps where they are only traced."""
        return self.data["train"] if self.feed is None else self.feed.shapes(steps)

    def compiled(self, arguments: tuple[Carry, Any, Setting], steps: int) -> Any:
        """So many steps, compiled for arguments of these shapes and names."""
        key = steps, tuple(sorted(arguments[2].hyper))
        if key not in self._compiled:
            self._compiled[key] = self.chunk.lower(*arguments, steps=steps).compile()
        return self._compiled[key]

    def side_by_side(self, arguments: Any, steps: int, spread: Spread | None = None) -> tuple[Any, Any]:
        """The chunk of so many steps and the evaluation for many runs at once, whose carries and settings are stacked.

        Args:
            arguments: the carries, the training examples and the settings.
            steps: of a chunk.
            spread: the devices over which the runs are divided; one device if left out.
        """
        key = len(arguments[0]["step"]), steps
        if key not in self._side_by_side:
            chunk = jax.vmap(functools.partial(self.chunk, steps=steps), in_axes=(0, None, 0))
            scores = jax.vmap(self._scores, in_axes=(0, None))
            if spread is not None:
                chunk, scores = spread.mapped(chunk, (True, False, True)), spread.mapped(scores, (True, False))
            compiled = jax.jit(chunk, donate_argnums=0).lower(*arguments).compile()
            self._side_by_side[key] = compiled, jax.jit(scores)
        return self._side_by_side[key]

    def _scores(self, carry: Carry, data: Any) -> dict[str, Any]:
        return {name: self.evaluate(model, *data) for name, model in models(carry).items()}

    def reads(self, config: Config) -> set[str]:
        """Which of the varied numbers what is compiled depends on."""
        setting = self.setting(config)
        carry = jax.eval_shape(self._start, setting)
        traced = self._start.trace(setting), self.chunk.trace(carry, self._shapes(1), setting, steps=1)
        return set().union(*(_used(part.jaxpr.jaxpr, sorted(setting.numbers)) for part in traced))

    def setting(self, config: Config, hyper: Mapping[str, float] | None = None) -> Setting:
        """The seed and the varied numbers of a configuration, and numbers of the chain for those of it."""
        values = flat(config.model_dump()) if self.varied else {}
        return Setting(config.train.seed, {key: float(values[key]) for key in self.varied}, hyper or {})


def _used(jaxpr: Any, names: list[str]) -> set[str]:
    """The names of the last arguments that anything is computed from."""
    read = {id(variable) for equation in jaxpr.eqns for variable in equation.invars}
    return {name for name, variable in zip(names, jaxpr.invars[-len(names) :], strict=True) if id(variable) in read}
