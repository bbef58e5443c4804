"""A study from its beginning to its end: trials, then the best one anew with fresh seeds."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from filelock import FileLock

from optchain.lab.base import compiled
from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken
from optchain.lab.runs import config, run
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import remove
from optchain.lab.training.experiment import load_task
from optchain.lab.tuning import fresh, lost, parcel, space, storage
from optchain.lab.tuning.beginning import require_readable
from optchain.lab.tuning.best_file import write_best, write_front
from optchain.lab.tuning.changes import refused
from optchain.lab.tuning.claim import seed_of
from optchain.lab.tuning.claims import Claims
from optchain.lab.tuning.constraints import require_known
from optchain.lab.tuning.objective import Objective, objective
from optchain.lab.tuning.population import require_numbers
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import Trial, best, front, trials
from optchain.lab.tuning.validity import require_buildable

SEARCHED = "searched"  # the attribute of a study in a database that says that its search has ended


@dataclasses.dataclass(frozen=True)
class Tuning:
    """A study in its folder: `study.json`, `run.json`, `trials.csv`, `best.toml`, `trials/`, `fresh/`, `clock/`, and
    the journal of the trials or, in `database.json`, the name that they have in a database."""

    study: Study
    folder: Path
    source: str  # of the study, to name in errors
    command: str
    shared: Programs | None = None  # what has been compiled already, for other studies

    def __reduce__(self) -> tuple[Any, ...]:  # another process reads it from its folder, and compiles by itself
        return reopened, (self.folder,)

    @functools.cached_property
    def programs(self) -> Programs:
        """What is compiled for the trials, and for the runs with fresh seeds."""
        return self.shared or Programs(self.source)

    @functools.cached_property
    def objective(self) -> Objective:
        """What is made as good as it can.

        Raises:
            InputError: nothing measures that, or what is constrained.
        """
        task = load_task(self.study)
        require_known(self.study.search, task)
        return objective(self.study.search, task)

    @functools.cached_property
    def claims(self) -> Claims:
        """The trials that are left to be run."""
        search, optuna_study = self.study.search, storage.opened(self.study, self.folder)
        leases = storage.leases(search, self.folder)
        clock = storage.clock(search, self.folder, optuna_study)
        return Claims(self.study, optuna_study, self.folder, self.objective, leases, clock)

    def trials(self) -> list[Trial]:
        """The trials so far."""
        with lost.told(self.study.search):
            return trials(self.claims.optuna_study, self.folder, self.objective, self.study.space)

    def require_valid(self) -> None:
        """The configuration can be run, and with every choice and both ends of every range; what the search needs is
        installed. Nothing is written.

        Raises:
            InputError: naming the dimension and the value, or what to install.
        """
        require_buildable(self.study, self.source)
        if self.study.search.sampler == "population":
            require_numbers(self.study, self.programs)
        _ = self.objective
        require_readable(self.study)
        storage.require_usable(self.study.search)

    def prepare(self, overwrite: bool) -> None:
        """Make the folder, or take the one in which the study was begun.

        Raises:
            InputError: the folder holds something else, or another study.
        """
        path = self.folder / "study.json"
        if is_taken(self.folder) and not path.is_file():
            raise InputError(f"{self.folder} exists and is no study of ours; choose another --out")
        if path.is_file() and overwrite:
            remove(self.folder)
        elif path.is_file():
            run.require_unchanged(self.folder, refused(config.load(path, table=Study), self.study))
        self.folder.mkdir(parents=True, exist_ok=True)
        Run(self.folder).write("study.json", self.study.written(self.folder))
        Run(self.folder).describe(self.command, self.study)

    def invite(self) -> None:
        """Let workers join that share nothing but the database, if there is one."""
        if self.study.search.storage is not None:
            with lost.told(self.study.search):
                self.claims.optuna_study.set_user_attr(SEARCHED, False)
                parcel.send(self.claims.optuna_study, self.study, self.command)

    def finish(self) -> list[Run]:
        """Write the best configuration, and run it anew with fresh seeds.

        Raises:
            Interrupted: a signal came.
        """
        winner = self.winner
        if winner is None:
            return []
        resolved = self.resolved(winner)
        write_front(self, front(self.trials(), self.objective))
        write_best(self, winner, resolved, [])
        runs = self.fresh(resolved, f"trial={winner.number}")
        write_best(self, winner, resolved, runs)
        return runs

    def resolved(self, trial: Trial) -> Config:
        """The configuration of a trial.

        With the seed of its run, where it is one: what `train` makes of it is then what the search saw.
        """
        once = self.study.search.runs == 1 and trial.schedule is None
        seed = {"seed": seed_of(self.study.search.seed, trial.number, 0)} if once else {}
        return self.study.config(trial.schedule or space.values(trial.labels, self.study.space), train=seed)

    def in_steps(self, resolved: Config) -> Config:
        """A configuration of the study with the steps of its epochs, for which the examples are counted."""
        return resolved if resolved.train.is_in_steps else resolved.in_steps(load_task(resolved).size)

    @property
    def winner(self) -> Trial | None:
        """The best trial so far."""
        return best(self.trials(), self.objective)

    @compiled.kept(everything=True)
    def fresh(self, resolved: Config, name: str) -> list[Run]:
        """Runs of a configuration with fresh seeds, scored on all splits; those that were made already are read.

        Args:
            resolved: the configuration.
            name: of it, to find the runs again.

        Raises:
            Interrupted: a signal came.
        """
        resolved = self.in_steps(resolved)
        with FileLock(self.folder / "fresh.lock"):  # whoever else runs the study waits, and finds the results
            return [self._anew(resolved, name, seed) for seed in self.fresh_seeds]

    def _anew(self, resolved: Config, name: str, seed: int) -> Run:
        """The ended run of a configuration with a seed."""
        config = resolved.model_copy(update={"train": resolved.train.model_copy(update={"seed": seed})})
        numbers = [self.study.key(name) for name in self.study.space]
        return fresh.ended(self.fresh_run(name, seed).folder, config, self.command, self.programs, numbers)

    @property
    def fresh_seeds(self) -> list[int]:
        """The seeds of the runs that judge the best trial; no trial has one of them."""
        return fresh.seeds(self.study.search)

    def fresh_run(self, name: str, seed: int) -> Run:
        """The run of a configuration, by its name, with a fresh seed."""
        return Run(self.folder / "fresh" / f"{name},seed={seed}")


def reopened(folder: Path) -> Tuning:
    """The study in a folder, as it was begun.

    Raises:
        InputError: its file is of another version.
    """
    path = folder / "study.json"
    return Tuning(config.load(path, table=Study), folder, str(path), Run(folder).about["command"])
