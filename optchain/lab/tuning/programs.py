"""What is compiled in a study: once for all trials that differ only in numbers."""

import json

import jax

from optchain.lab.runs.config import Config
from optchain.lab.settings.load import flat
from optchain.lab.training.experiment import Experiment, build
from optchain.lab.training.program import Program


class Programs:
    """The programs of a study so far."""

    def __init__(self, source: str) -> None:
        """
        Args:
            source: of the configurations, to name in errors.
        """
        self.source = source
        self.programs: dict[str, tuple[Experiment, Program]] = {}
        self.arguments: dict[str, tuple[str, ...]] = {}  # of each structure, the numbers that can be arguments

    def of(self, config: Config, numbers: list[str]) -> tuple[Experiment, Program]:
        """The experiment of a configuration, whose epochs are steps, and the program that runs it.

        Args:
            config: the configuration of a trial.
            numbers: dotted keys at which other trials have other numbers.
        """
        structure = key_of(config, numbers)
        if structure not in self.arguments:
            built = build(config, self.source)
            program = probed(built, numbers)
            self.arguments[structure] = program.varied
            self.programs[key_of(config, program.varied)] = built, program
        key = key_of(config, self.arguments[structure])
        if key not in self.programs:
            built = build(config, self.source)
            self.programs[key] = built, Program(built, self.arguments[structure])
        built, program = self.programs[key]
        return built.having(config.in_steps(built.task.size)), program


def key_of(config: Config, varied: list[str] | tuple[str, ...]) -> str:
    """A configuration without its seed and the values at some dotted keys, but with which of these keys it has."""
    values = flat(config.model_dump())
    left = {key: value for key, value in values.items() if key not in {"train.seed", *varied}}
    return json.dumps([left, sorted(values.keys() & set(varied))], sort_keys=True, default=str)


def probed(built: Experiment, numbers: list[str]) -> Program:
    """The program that takes as arguments, of the numbers at some dotted keys, all that it can.

    Those that decide a shape or how something is computed cannot; and one that is read outside of what is compiled has
    to be the same for all of its runs.
    """
    values = flat(built.config.model_dump())
    candidates = tuple(key for key in numbers if isinstance(values.get(key), float))
    program = Program(built, candidates)
    if not candidates or _takes_all(program, built.config):
        return program
    return Program(built, tuple(key for key in candidates if _takes_all(Program(built, (key,)), built.config)))


def _takes_all(program: Program, config: Config) -> bool:
    """Whether the loop can be traced with all of a program's numbers as arguments, and reads them."""
    try:
        return program.reads(config) == set(program.varied)
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        return False
