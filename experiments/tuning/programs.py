"""What is compiled in a study: once for all trials that differ only in numbers."""

import json
from collections.abc import Callable

import jax

from experiments.config import flat
from experiments.experiment import Experiment, build
from experiments.program import Program
from experiments.tables import Config


class Programs:
    """The programs of a study so far."""

    def __init__(self, source: str, build: Callable[[Config, str], Experiment] = build) -> None:
        """
        Args:
            source: of the configurations, to name in errors.
            build: what makes an experiment of one.
        """
        self.source, self.build = source, build
        self.found: dict[str, tuple[Experiment, Program]] = {}
        self.arguments: dict[str, tuple[str, ...]] = {}  # of each structure, the numbers that can be arguments

    def of(self, config: Config, numbers: list[str]) -> tuple[Experiment, Program]:
        """The experiment of a configuration, and the program that runs it.

        Args:
            config: the configuration of a trial.
            numbers: dotted keys at which other trials have other numbers.
        """
        structure, built = key_of(config, numbers), None
        if structure not in self.arguments:
            built = self.build(config, self.source)
            self.arguments[structure] = arguments(built, numbers)
        varied = self.arguments[structure]
        key = key_of(config, varied)
        if key not in self.found:
            built = built or self.build(config, self.source)
            self.found[key] = built, Program(built, varied)
        built, program = self.found[key]
        return built.having(config), program


def key_of(config: Config, varied: list[str] | tuple[str, ...]) -> str:
    """A configuration without its seed and the numbers at some dotted keys."""
    left = {key: value for key, value in flat(config.model_dump()).items() if key not in {"train.seed", *varied}}
    return json.dumps(left, sort_keys=True, default=str)


def arguments(built: Experiment, numbers: list[str]) -> tuple[str, ...]:
    """The numbers, among those at some dotted keys, that what is compiled can take as arguments.

    Those that decide a shape or how something is computed cannot; and one that is read outside of what is compiled has
    to be the same for all of its runs.
    """
    values = flat(built.config.model_dump())
    candidates = [key for key in numbers if isinstance(values.get(key), float)]
    if not candidates or _taken(built, candidates) == candidates:
        return tuple(candidates)
    return tuple(key for key in candidates if _taken(built, [key]))


def _taken(built: Experiment, keys: list[str]) -> list[str]:
    """The keys whose numbers are read while the loop is traced; none if it cannot be traced with all of them."""
    program = Program(built, keys)
    try:
        read = program.reads(built.config)
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        return []
    return [key for key in keys if key in read]
