"""Who runs which trial: the process that holds its lock, and nobody else."""

import contextlib
import functools
import math
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.pruners import WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.training.evaluate import evaluated, scores_of
from optchain.lab.tuning import space
from optchain.lab.tuning.beginning import EARLIER
from optchain.lab.tuning.clock import Clock
from optchain.lab.tuning.constraints import set_constraints
from optchain.lab.tuning.numbers import Label
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.optuna_private import begun
from optchain.lab.tuning.sampler import STOPPED
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import SURPLUS, folder_of

PAUSE = 0.2  # seconds between two looks at the trials of others
Result = dict[str, Any]  # of a run, as in its `result.json`


class Claim:
    """A trial that this process runs. All that Optuna is told of it goes through here."""

    def __init__(
        self, study: Study, optuna_study: optuna.Study, trial: optuna.Trial, folder: Path, objective: Objective
    ):
        self.study, self.optuna_study, self.trial, self.objective = study, optuna_study, trial, objective
        self.number, self.folder = trial.number, folder
        self.labels: dict[str, Label] = space.suggest(trial, study.space)
        self.results: list[Result] = []  # of its runs that have ended
        self.parameters: int | None = None  # of its model, where they are constrained
        self.began = time.perf_counter()

    def configs(self) -> list[Config]:
        """The configurations of its runs: one for each seed and fold.

        Raises:
            InputError: its values do not fit together.
        """
        search, values = self.study.search, space.values(self.labels, self.study.space)
        seeds = [seed_of(search.seed, self.number, replicate) for replicate in range(search.seeds)]
        return [self.study.config(values, part, {"seed": seed}) for seed in seeds for part in search.parts]

    def numbers(self) -> list[str]:
        """The dotted keys of the configuration that it varies."""
        return [self.study.key(name) for name in self.labels]

    def evaluated(self, row: dict[str, Any]) -> bool:
        """Hear of an evaluation of the run in progress; whether to end it now, because others are better.

        A trial of several runs is judged when one of them has ended, by the mean of those that have.
        """
        return self.study.search.runs == 1 and self._is_behind(row["step"], self.objective.of_row(row))

    def ended(self, result: Result) -> bool:
        """Hear that a run has ended; whether that was the end of the trial."""
        self.results.append(result)
        if result["ending"] in ("diverged", "pruned"):
            self._tell([math.inf] * len(self.objective.all) if result["ending"] == "diverged" else None)
            return True
        scores = [self.objective.of_scores(scores_of(result, "validation")) for result in self.results]
        if len(scores) == self.study.search.runs:
            means = self._scores()
            self._tell([objective.of_scores(means) for objective in self.objective.all])
        elif self._is_behind(len(scores), scores[-1] if self._is_paired else statistics.mean(scores)):
            self._tell(None)
        else:
            return False
        return True

    def infeasible(self, why: str) -> None:
        """End the trial, of which nothing has been run yet, because its configuration cannot be run."""
        self.trial.set_user_attr("why", why)
        # Building it cost something, too: a budget of seconds is to end where nothing can be run.
        self.trial.set_user_attr("seconds", {"compiling": time.perf_counter() - self.began, "training": 0.0})
        self.optuna_study.tell(self.trial, state=TrialState.FAIL)

    @property
    def _is_paired(self) -> bool:
        """Whether the pruner compares runs one by one."""
        return isinstance(self.optuna_study.pruner, WilcoxonPruner)

    def _is_behind(self, step: int, value: float) -> bool:
        if self.objective.others:  # Optuna prunes by one objective only
            return False
        known = self.optuna_study.get_trials(deepcopy=False)[self.number].intermediate_values
        if step not in known:  # a run that goes on from its checkpoint says some of it again
            self.trial.report(value, step)
        with warnings.catch_warnings():  # Wilcoxon's test warns where few steps can be compared
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=UserWarning, message=".*(best trial|intermediate value).*")
            return self.trial.should_prune()

    def _tell(self, values: list[float] | None) -> None:
        """End the trial, pruned if it has no values. What it cost is written first: a told trial is never touched."""
        results = self.results
        self.trial.set_user_attr("steps", sum(result["step"] for result in results))
        seconds = {name: sum(result["seconds"][name] for result in results) for name in ("compiling", "training")}
        self.trial.set_user_attr("seconds", seconds)
        if values is not None and all(map(math.isfinite, values)):
            scores = self._scores()
            self.trial.set_user_attr("scores", scores)
            speed = sum(result["step"] for result in results) / max(seconds["training"], 1e-9)
            measured = scores | {"parameters": self.parameters, "steps_per_second": speed}
            set_constraints(self.trial, self.study.search, measured)
        else:
            set_constraints(self.trial, self.study.search, None, broken=values is not None)
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        self.optuna_study.tell(self.trial, values, state)

    def _scores(self) -> dict[str, float]:
        """The means over its runs of the loss and the metrics, at the evaluation that counts."""
        tables = [scores_of(result, "validation") for result in self.results]
        if self.study.search.judge == "best":
            logs = [evaluations(read(path)) for path in sorted(self.folder.glob("*/metrics.jsonl"))]
            rows = [min(rows, key=self.objective.of_row) for rows in logs if rows]
            tables = [{name: evaluated(row, name) for name in tables[0]} for row in rows]
        return {name: statistics.mean(table[name] for table in tables) for name in tables[0]}


class Claims:
    """The trials that are left to be run, one by one: first those that a killed process has left, then new ones."""

    def __init__(self, study: Study, optuna_study: optuna.Study, folder: Path, objective: Objective) -> None:
        self.study, self.optuna_study, self.folder, self.objective = study, optuna_study, folder, objective
        self.held: set[int] = set()
        self.clock = Clock(folder)

    def next(self) -> contextlib.AbstractContextManager[Claim] | None:
        """The next trial, in a context that holds its lock; None when there is none."""
        return next(self._found(), None)

    def _found(self) -> Iterator[Any]:
        yield from self._left()
        while not self._is_spent():
            yield from self._wanted(self.optuna_study.ask())
        # What others are running is theirs, unless they give it up.
        while not self.held and self._running():
            yield from self._left()
            time.sleep(PAUSE)

    def _left(self) -> Iterator[Any]:
        """The claims on trials that were begun and that nobody runs."""
        for trial in self._running():
            yield from self._wanted(begun(self.optuna_study, trial))

    def _running(self) -> list[FrozenTrial]:
        return self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _wanted(self, trial: optuna.Trial) -> Iterator[Any]:
        """The claim on a trial, unless another process has it, or the budget was used up when it was begun."""
        lock = self._taken(trial.number)
        if lock is None:
            return
        if self._is_in_budget(trial.number):
            yield self._claim(trial, lock)
        else:
            trial.set_user_attr(SURPLUS, True)
            self.optuna_study.tell(trial, state=TrialState.FAIL)
            lock.release()

    @contextlib.contextmanager
    def _claim(self, trial: optuna.Trial, lock: FileLock) -> Iterator[Claim]:
        folder = folder_of(self.folder, trial.number)
        self.held.add(trial.number)
        try:
            yield Claim(self.study, self.optuna_study, trial, folder, self.objective)
        finally:
            self.held.discard(trial.number)
            lock.release()

    def _taken(self, number: int) -> FileLock | None:
        """The lock of a trial that nobody runs and that has not ended."""
        if number in self.held:
            return None
        folder = folder_of(self.folder, number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        state = self.optuna_study.get_trials(deepcopy=False)[number].state
        if state != TrialState.RUNNING:  # it ended just before
            lock.release()
            return None
        return lock

    @property
    def budget(self) -> int | None:
        """How many trials there are to be, where that is limited."""
        search = self.study.search
        return len(space.grid(self.study.space)) if search.sampler == "grid" else search.trials

    def _is_in_budget(self, number: int) -> bool:
        return self.budget is None or number - self._earlier < self.budget

    @functools.cached_property
    def _earlier(self) -> int:
        """How many trials of earlier studies the study has begun with."""
        return sum(EARLIER in trial.user_attrs for trial in self.optuna_study.get_trials(deepcopy=False))

    def _is_spent(self) -> bool:
        if STOPPED in self.optuna_study.user_attrs:
            return True
        frozen_trials, limit = self.optuna_study.get_trials(deepcopy=False), self.study.search.seconds
        if any(trial.state == TrialState.WAITING for trial in frozen_trials):
            return limit is not None and self.clock.spent() >= limit
        if self.study.search.sampler == "grid":
            return True
        if not self._is_in_budget(len(frozen_trials)):
            return True
        return limit is not None and self.clock.spent() >= limit


def run_folder(folder: Path, config: Config) -> Path:
    """Where a run of a trial is, in the trial's folder."""
    fold = "" if config.task.fold is None else f",fold={config.task.fold}"
    return folder / f"seed={config.train.seed}{fold}"


def seed_of(seed: int, number: int, replicate: int) -> int:
    """The training seed of a trial's run: of the study's seed and the trial's number, whoever runs it."""
    return int(np.random.SeedSequence(seed, spawn_key=(0, number, replicate)).generate_state(1)[0] >> 1)
