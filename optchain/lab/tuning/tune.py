"""A study from its beginning to its end: trials, then the best one anew with fresh seeds."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken
from optchain.lab.base.signals import Interrupted
from optchain.lab.runs import config, run
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import remove, sole_writer
from optchain.lab.training.experiment import build, load_task
from optchain.lab.training.progress import Quiet
from optchain.lab.training.train import Trainer
from optchain.lab.tuning import one_by_one, space, storage
from optchain.lab.tuning.beginning import require_readable
from optchain.lab.tuning.best_file import write_best, write_front
from optchain.lab.tuning.claims import Claims, seed_of
from optchain.lab.tuning.constraints import require_known
from optchain.lab.tuning.display import Standings
from optchain.lab.tuning.lanes import require_side_by_side
from optchain.lab.tuning.objective import Objective, objective
from optchain.lab.tuning.population import Population, require_numbers
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.side_by_side import SideBySide
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import Trial, best, front, trials, write_trials
from optchain.lab.tuning.workers import in_processes


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
        """What is made as good as it can."""
        return objective(self.study.search, load_task(self.study))

    @functools.cached_property
    def claims(self) -> Claims:
        """The trials that are left to be run."""
        return Claims(self.study, storage.opened(self.study, self.folder), self.folder, self.objective)

    def trials(self) -> list[Trial]:
        """The trials so far."""
        return trials(self.claims.optuna_study, self.folder, self.objective, self.study.space)

    def require_valid(self) -> None:
        """The configuration can be run, and with every choice and both ends of every range; what the search needs is
        installed. Nothing is written.

        Raises:
            InputError: naming the dimension and the value, or what to install.
        """
        search, part = self.study.search, self.study.search.parts[0]
        build(self.study.config({}, part), self.source)
        for labels in space.samples(self.study.space):
            name, label = list(labels.items())[-1]
            where = f"{self.source}: space.{name!r} = {label!r}"
            try:
                resolved = self.study.config(space.values(labels, self.study.space), part)
                if search.side_by_side:
                    require_side_by_side(resolved)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            build(resolved, where)
        if search.sampler == "population":
            require_numbers(self.study, self.programs)
        require_known(search, load_task(self.study))
        require_readable(self.study)
        storage.require_usable(search)

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
            run.require_unchanged(self.folder, self._refused(config.load(path, table=Study)))
        self.folder.mkdir(parents=True, exist_ok=True)
        Run(self.folder).write("study.json", self.study.written(self.folder))
        Run(self.folder).describe(self.command, self.study)

    def search(self, quiet: bool = False) -> None:
        """Run all trials that are left.

        Args:
            quiet: show nothing meanwhile.

        Raises:
            Interrupted: a signal came.
        """
        with contextlib.nullcontext() if quiet else Standings(self.claims.budget, self.objective) as display:

            def look() -> None:
                self.claims.clock.tick()
                trials = self.trials()
                write_trials(trials, self.folder / "trials.csv", self.objective)
                if display:
                    display.show(trials)

            search = self.study.search
            look()
            if search.sampler == "population":
                return Population(self.claims, self.programs, self.command, look).perform()
            match search.parallel:
                case "vmap":
                    SideBySide(self.claims, self.programs, self.command, lambda _: look()).perform()
                case "processes":
                    in_processes(work, (self,), search.workers or os.cpu_count() or 1, look)
                case "none":
                    work(self, look)

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

    @property
    def winner(self) -> Trial | None:
        """The best trial so far."""
        return best(self.trials(), self.objective)

    def fresh(self, resolved: Config, name: str) -> list[Run]:
        """Runs of a configuration with fresh seeds, scored on all splits; those that were made already are read.

        Args:
            resolved: the configuration.
            name: of it, to find the runs again.

        Raises:
            Interrupted: a signal came.
        """
        with FileLock(self.folder / "fresh.lock"):  # whoever else runs the study waits, and finds the results
            return [self._anew(resolved, name, seed) for seed in self.fresh_seeds]

    def _anew(self, resolved: Config, name: str, seed: int) -> Run:
        """The ended run of a configuration with a seed."""
        config = resolved.model_copy(update={"train": resolved.train.model_copy(update={"seed": seed})})
        folder = self.fresh_run(name, seed).folder
        with sole_writer(folder):
            fresh_run = run.opened(folder, config, self.command)
            if fresh_run.result is None:
                experiment, program = self.programs.of(config, [self.study.key(name) for name in self.study.space])
                signal = Trainer(experiment, fresh_run, program=program, display=Quiet()).train()
                if signal is not None:
                    raise Interrupted(signal)
        return fresh_run

    @property
    def fresh_seeds(self) -> list[int]:
        """The seeds of the runs that judge the best trial; no trial has one of them."""
        search = self.study.search
        sequences = [np.random.SeedSequence(search.seed, spawn_key=(1, i)) for i in range(search.fresh)]
        return [int(sequence.generate_state(1)[0] >> 1) for sequence in sequences]

    def fresh_run(self, name: str, seed: int) -> Run:
        """The run of a configuration, by its name, with a fresh seed."""
        return Run(self.folder / "fresh" / f"{name},seed={seed}")

    def _refused(self, old: Study) -> list[str]:
        """The differences that make it another study. A larger budget and other ways to run it do not."""
        may = ("search.trials", "search.seconds", "search.parallel", "search.workers", "search.lanes", "search.fresh")
        if self.study.search.sampler == "grid":
            may = may[2:]
        return [line for line in config.differences(old, self.study) if not line.startswith(may)]


def reopened(folder: Path) -> Tuning:
    """The study in a folder, as it was begun.

    Raises:
        InputError: its file is of another version.
    """
    path = folder / "study.json"
    return Tuning(config.load(path, table=Study), folder, str(path), Run(folder).about["command"])


def work(tuning: Tuning, look: Callable[[], None] = lambda: None) -> None:
    """Run trials, one after the other, as long as any are left."""
    while (held := tuning.claims.next()) is not None:
        with held as claim:
            one_by_one.perform(claim, tuning.programs, tuning.command)
        look()
