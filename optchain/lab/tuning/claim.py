"""A trial in progress: its configurations, and what Optuna is told of it."""

import contextlib
import json
import math
import statistics
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import WilcoxonPruner
from optuna.trial import TrialState

from optchain.lab.runs.config import Config
from optchain.lab.training.evaluate import evaluated, scores_of
from optchain.lab.training.seconds import none_yet, total
from optchain.lab.tuning import space
from optchain.lab.tuning.constraints import set_constraints
from optchain.lab.tuning.numbers import Label
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import EVALUATIONS, logged

LONGEST = 30_000  # letters of an attribute: some databases take no more than twice as many
Result = dict[str, Any]  # of a run, as in its `result.json`


class Claim:
    """A trial that this process runs. All that Optuna is told of it goes through here, in the turn of its thread."""

    def __init__(
        self,
        study: Study,
        optuna_study: optuna.Study,
        trial: optuna.Trial,
        folder: Path,
        objective: Objective,
        turn: threading.RLock,
    ):
        self.study, self.optuna_study, self.trial, self.objective = study, optuna_study, trial, objective
        self.turn = turn
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

    def evaluated(self, config: Config, row: dict[str, Any]) -> bool:
        """Hear of an evaluation of the run in progress; whether to end it now, because others are better.

        A trial of several runs is judged when one of them has ended, by the mean of those that have. Where the length
        is a number of epochs, trials are compared at the same epoch, which other sizes of batches reach at other steps.

        Args:
            config: of the run, whose epochs are steps.
            row: of the evaluation.
        """
        at = row["step"] // config.train.evaluate_every if self.study.train.is_in_epochs else row["step"]
        with self.turn, _unless_it_has_ended():
            return self.study.search.runs == 1 and self._is_behind(at, self.objective.of_row(row))
        return True

    def ended(self, result: Result) -> bool:
        """Hear that a run has ended; whether that was the end of the trial."""
        with self.turn, _unless_it_has_ended():
            return self._ended(result)
        return True

    def _ended(self, result: Result) -> bool:
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
        with self.turn, _unless_it_has_ended():
            self.trial.set_user_attr("why", why)
            # Building it cost something, too: a budget of seconds is to end where nothing can be run.
            self.trial.set_user_attr("seconds", none_yet() | {"compiling": time.perf_counter() - self.began})
            self.optuna_study.tell(self.trial, state=TrialState.FAIL)

    @property
    def _is_paired(self) -> bool:
        """Whether the pruner compares runs one by one."""
        return isinstance(self.optuna_study.pruner, WilcoxonPruner)

    def _is_behind(self, step: int, value: float) -> bool:
        known = self.optuna_study.get_trials(deepcopy=False)[self.number]
        if known.state.is_finished():  # this worker was taken for dead, and another one has ended the trial
            return True
        if self.objective.others:  # Optuna prunes by one objective only
            return False
        if step not in known.intermediate_values:  # a run that goes on from its checkpoint says some of it again
            self.trial.report(value, step)
        with warnings.catch_warnings():  # Wilcoxon's test warns where few steps can be compared
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=UserWarning, message=".*(best trial|intermediate value).*")
            return self.trial.should_prune()

    def _tell(self, values: list[float] | None) -> None:
        """End the trial, pruned if it has no values. What it cost is written first: a told trial is never touched."""
        results = self.results
        self.trial.set_user_attr("steps", sum(result["step"] for result in results))
        seconds = total(result["seconds"] for result in results)
        self.trial.set_user_attr("seconds", seconds)
        if self.study.search.storage is not None:
            self.trial.set_user_attr(EVALUATIONS, _short(logged(self.folder)))
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
            rows = [min(rows, key=self.objective.of_row) for rows in logged(self.folder) if rows]
            tables = [{name: evaluated(row, name) for name in tables[0]} for row in rows]
        return {name: statistics.mean(table[name] for table in tables) for name in tables[0]}


@contextlib.contextmanager
def _unless_it_has_ended() -> Iterator[None]:
    """What a worker says of a trial is lost where it was taken for dead and another one has ended the trial."""
    with contextlib.suppress(UpdateFinishedTrialError):
        yield


def _short(runs: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The evaluations of runs, every second, third, ... of them and the last where a database may not take them all."""
    every = math.ceil(len(json.dumps(runs)) / LONGEST)
    return [[row for i, row in enumerate(reversed(rows)) if i % every == 0][::-1] for rows in runs]


def run_folder(folder: Path, config: Config) -> Path:
    """Where a run of a trial is, in the trial's folder."""
    fold = "" if config.task.fold is None else f",fold={config.task.fold}"
    return folder / f"seed={config.train.seed}{fold}"


def seed_of(seed: int, number: int, replicate: int) -> int:
    """The training seed of a trial's run: of the study's seed and the trial's number, whoever runs it."""
    return int(np.random.SeedSequence(seed, spawn_key=(0, number, replicate)).generate_state(1)[0] >> 1)
