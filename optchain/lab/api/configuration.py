"""Configurations from Python: those of files, with changed values, or tables that a program has made."""

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from optchain.lab.api.results import Comparison, Run, Study
from optchain.lab.api.training import train_in
from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.comparison import compare as comparing
from optchain.lab.comparison.tables import Comparison as ComparisonTable
from optchain.lab.data.task import Task
from optchain.lab.runs.config import Config, Setup
from optchain.lab.settings.load import names_of, problems, put, read
from optchain.lab.trackers.tables import require_installed
from optchain.lab.training import experiment
from optchain.lab.tuning import working
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tables import Study as StudyTable
from optchain.lab.tuning.tune import Tuning


class Configuration:
    """Tables as in a TOML file, checked: of a run, of a study (with `search` and `space`) or of a comparison (with
    `optimizers`).

    Args:
        tables: the tables, as plain dicts.
        changes: other values by dotted key, written as in TOML: `{"train.seed": 1, 'space."optimizer.lr"': {...}}`. A
            value may be a whole table.
        folder: what files and places in the tables are relative to.
        source: where the tables come from, to name in errors.
        programs: what has been compiled for a configuration like this one; see `changed`.

    Raises:
        InputError: naming the source, the dotted key, what was found, and the nearest valid name.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        changes: Mapping[str, Any] = {},  # noqa: B006, not changed
        *,
        folder: Path | str = ".",
        source: str = "configuration",
        programs: Programs | None = None,
    ) -> None:
        self.tables, self.folder, self.source = copy.deepcopy(dict(tables)), Path(folder), source
        for key, value in changes.items():
            names = names_of(key)
            if names is None:
                raise InputError(f"{source}: got the key {key!r}; expected a dotted key such as 'train.seed'")
            put(self.tables, names, copy.deepcopy(value), f"{source}: {key}")
        kind = ComparisonTable if "optimizers" in self.tables else StudyTable if "space" in self.tables else Config
        try:
            self._table: Setup = kind.model_validate(self.tables, context={"folder": self.folder})
        except pydantic.ValidationError as error:
            lines = (": ".join(filter(None, [source, *problem])) for problem in problems(error))
            raise InputError("\n".join(lines)) from None
        self._programs = programs or Programs(source)

    def changed(self, changes: Mapping[str, Any]) -> "Configuration":
        """The same configuration with other values. What is compiled for one of the two, the other need not compile
        again if they differ only in seeds, or in numbers that both search for.

        Args:
            changes: by dotted key, as for the class.

        Raises:
            InputError: as for the class.
        """
        programs = self._programs
        return Configuration(self.tables, changes, folder=self.folder, source=self.source, programs=programs)

    @functools.cached_property
    def task(self) -> Task:
        """What is learned: its `splits` by name, its `metrics`, its `labels`.

        Raises:
            InputError: the data cannot be read, split or prepared.
        """
        return experiment.load_task(self._table)

    @property
    def fresh_seeds(self) -> list[int]:
        """The seeds with which a study runs its best values again; none of its trials has one of them.

        Raises:
            InputError: it is not the configuration of a study.
        """
        return self._tuning(Path()).fresh_seeds

    def check(self) -> None:
        """Everything is built and traced, for a study with all choices and both ends of all ranges; nothing is written.

        Raises:
            InputError: naming what does not exist, or does not fit together.
        """
        if isinstance(self._table, ComparisonTable):
            comparing.require_valid(self._table, comparing.studies(self._table, Path(), self.source, ""))
        elif isinstance(self._table, StudyTable):
            self._tuning(Path()).require_valid()
        else:
            experiment.build(self.run_table("check"), self.source)

    def train(self, out: Path | str, *, overwrite: bool = False, quiet: bool = False) -> Run:
        """Train, or resume the run that the same call began; the configuration of a study as it is, without a search.

        Args:
            out: the run's folder.
            overwrite: whether a run in the folder is removed first.
            quiet: whether nothing is shown meanwhile.

        Returns:
            The run, which has ended.

        Raises:
            InputError: what is asked for does not exist or does not fit together, or the folder holds something else.
            Interrupted: a signal came; the same call resumes.
        """
        config = self.run_table("train")
        if not config.train.is_in_steps:
            config = config.in_steps(self.task.size)
        built, program = self._programs.of(config, [])
        built.config.require_epochs(built.task.size)
        require_installed(built.config.trackers)
        signal = train_in(Path(out), built, self._command("train"), overwrite=overwrite, quiet=quiet, program=program)
        if signal is not None:
            raise Interrupted(signal)
        return Run(Path(out))

    def tune(self, out: Path | str, *, overwrite: bool = False, quiet: bool = False) -> Study:
        """Search for the best values and run them with fresh seeds, or resume the study that the same call began.

        Args:
            out: the study's folder.
            overwrite: whether a study in the folder is removed first.
            quiet: whether nothing is shown meanwhile.

        Returns:
            The study, which has ended.

        Raises:
            InputError: what is asked for does not exist or does not fit together, or the folder holds something else.
            Interrupted: a signal came; the same call resumes.
        """
        tuning = self._tuning(Path(out))
        if not tuning.study.space:
            raise InputError(f"{self.source}: space: got none; expected a dimension, or train() in place of tune()")
        tuning.require_valid()
        tuning.prepare(overwrite)
        tuning.invite()
        working.search(tuning, quiet)
        tuning.finish()
        return Study(tuning.folder)

    def compare(self, out: Path | str, *, overwrite: bool = False) -> Comparison:
        """Tune several optimizers with equal budgets and compare them, or resume what the same call began.

        Args:
            out: the comparison's folder.
            overwrite: whether a comparison in the folder is removed first.

        Returns:
            The comparison, which has ended.

        Raises:
            InputError: what is asked for does not exist or does not fit together, or the folder holds something else.
            Interrupted: a signal came; the same call resumes.
        """
        table, folder = self._table, Path(out)
        if not isinstance(table, ComparisonTable):
            raise self._misses("optimizers", "compare")
        tunings = comparing.studies(table, folder, self.source, self._command("compare"))
        comparing.require_valid(table, tunings)
        comparing.prepare(folder, table, tunings, self._command("compare"), overwrite)
        done: dict[str, Tuning] = {}
        for name in comparing.perform(table, tunings):
            done[name] = tunings[name]
            comparing.write_trials(done, folder / "trials.csv")
        return Comparison(folder)

    def __repr__(self) -> str:
        return f"Configuration({self.source!r})"

    def run_table(self, asked: str) -> Config:
        """The table of a run: of a study that of its configuration without a search.

        Args:
            asked: what needs it, to name in errors.

        Raises:
            InputError: it is the configuration of a comparison.
        """
        if isinstance(self._table, StudyTable):
            return self._table.config({})
        if isinstance(self._table, Config):
            return self._table
        raise self._misses("optimizer", asked)

    def _tuning(self, folder: Path) -> Tuning:
        if not isinstance(self._table, StudyTable):
            raise self._misses("space", "tune")
        return Tuning(self._table, folder, self.source, self._command("tune"), self._programs)

    def _misses(self, table: str, method: str) -> InputError:
        return InputError(f"{self.source}: got no table [{table}]; {method} needs it")

    def _command(self, method: str) -> str:
        return f"from Python: {self!r}.{method}"


def load(path: Path | str, changes: Mapping[str, Any] = {}) -> Configuration:  # noqa: B006, not changed
    """The configuration in a file, to be trained, tuned or compared from Python.

    Args:
        path: a TOML file, or the `config.json` of a run.
        changes: other values by dotted key, such as `{"train.seed": 1}`; see `Configuration`.

    Raises:
        InputError: naming the file, the dotted key, what was found, and the nearest valid name.
    """
    return Configuration(read(Path(path)), changes, folder=Path(path).parent, source=str(path))
