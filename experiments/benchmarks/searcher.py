"""One study of a method: its trials one after the other in a lane, and what it has chosen so far."""

import math
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import optuna

# What proposes and ends trials is what is compared: it is the tuner's own, in other lanes than a study's.
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.tuning import storage
from optchain.lab.tuning.claim import Claim
from optchain.lab.tuning.lanes import Lane, Lanes
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.sampler import Seeded
from optchain.lab.tuning.side_by_side import ending_of
from optchain.lab.tuning.tables import Study


class Chosen(NamedTuple):
    """The best trial of a study from some step of it on."""

    step: int  # of all its trials together
    score: float  # its own
    config: Config


class Searcher:
    """A study that is kept in memory; who runs its trials, and what Optuna is told of them, is the tuner's."""

    def __init__(self, method: str, study: Study, folder: Path) -> None:
        """
        Args:
            method: its name.
            study: how to search.
            folder: where its runs go.
        """
        self.method, self.study, self.folder = method, study, folder
        # By the name that the tuner gives Hyperband deals its brackets: a random one would deal others each time.
        self.optuna_study = optuna.create_study(
            sampler=Seeded(study.search), pruner=storage.pruner(study), study_name=storage.NAME
        )
        self.claim: Claim | None = None  # on the trial in progress
        self.chosen: list[Chosen] = []  # each better than the one before
        self.seconds = 0.0  # of thinking: what the sampler and the pruner took
        self.endings: list[str] = []  # of its trials

    def begin(self, lanes: Lanes) -> None:
        """Give the next trial a lane, unless one is in progress."""
        if self.claim is not None:
            return
        began = time.perf_counter()
        trial = self.optuna_study.ask()
        folder = self.folder / f"{trial.number:04d}"
        self.claim = Claim(self.study, self.optuna_study, trial, folder, Objective("loss", 1), threading.RLock())
        self.seconds += time.perf_counter() - began
        (config,) = self.claim.configs()
        lanes.begin(created(folder), config, self)

    def hear(self, lanes: Lanes, lane: Lane, row: dict[str, Any] | None, step: int) -> None:
        """Hear of an evaluation of the trial in progress.

        Args:
            lanes: where it runs.
            lane: its own.
            row: of the evaluation; None if the run has diverged.
            step: of all trials together.
        """
        claim, began = self.claim, time.perf_counter()
        assert claim is not None
        ending = ending_of(lane, claim, row)
        if ending is not None:
            claim.ended(lanes.end(lane, ending))
            self.endings.append(ending)
            score = claim.objective.of_row(row) if ending == "finished" and row else math.inf
            if score < (self.chosen[-1].score if self.chosen else math.inf):
                self.chosen.append(Chosen(step, score, lane.config))
            self.claim = None
        self.seconds += time.perf_counter() - began


def created(folder: Path) -> Run:
    """A run in a new folder."""
    folder.mkdir(parents=True)
    return Run(folder)
