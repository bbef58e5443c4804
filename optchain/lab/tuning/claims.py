"""Who runs which trial: the worker that holds its lease, and nobody else."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from optchain.lab.tuning import space
from optchain.lab.tuning.beginning import EARLIER
from optchain.lab.tuning.claim import Claim
from optchain.lab.tuning.clock import Clock
from optchain.lab.tuning.leases import Lease, Leases
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.optuna_private import begun
from optchain.lab.tuning.sampler import STOPPED
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import RETRIES, SURPLUS, folder_of

PAUSE = 0.2  # seconds between two looks at the trials of others


class Claims:
    """The trials that are left to be run, one by one: first those that a dead worker has left, then new ones.

    The threads of a process may share it: one at a time speaks to Optuna, in its `turn`.
    """

    def __init__(
        self,
        study: Study,
        optuna_study: optuna.Study,
        folder: Path,
        objective: Objective,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self.study, self.optuna_study, self.folder, self.objective = study, optuna_study, folder, objective
        self.leases, self.clock = leases, clock
        self.held: set[int] = set()
        self.turn = threading.RLock()

    def next(self, meanwhile: Callable[[], None] = lambda: None) -> contextlib.AbstractContextManager[Claim] | None:
        """The next trial, in a context that holds its lease; None when there is none.

        Args:
            meanwhile: called now and then while only trials of others are left, which they may give up.
        """
        while True:
            with self.turn:
                found = next(self._found(), None)
                if found is not None or self.held or not self._running():
                    return found
            meanwhile()
            time.sleep(PAUSE)

    def _found(self) -> Iterator[Any]:
        yield from self._left()
        while not self._is_spent():
            yield from self._wanted(self.optuna_study.ask())

    def _left(self) -> Iterator[Any]:
        """The claims on trials that were begun and that nobody runs."""
        for trial in self._running():
            yield from self._wanted(begun(self.optuna_study, trial))

    def _running(self) -> list[FrozenTrial]:
        return self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _wanted(self, trial: optuna.Trial) -> Iterator[Any]:
        """The claim on a trial, unless another process has it, or the budget was used up when it was begun."""
        lease = self._taken(trial.number)
        if lease is None:
            return
        if self._is_in_budget(trial.number):
            if lease.attempt:
                with contextlib.suppress(UpdateFinishedTrialError):  # its worker was only slow, and ends it now
                    trial.set_user_attr(RETRIES, lease.attempt)
            yield self._claim(trial, lease)
        else:
            trial.set_user_attr(SURPLUS, True)
            self.optuna_study.tell(trial, state=TrialState.FAIL)
            lease.release()

    @contextlib.contextmanager
    def _claim(self, trial: optuna.Trial, lease: Lease) -> Iterator[Claim]:
        folder = folder_of(self.folder, trial.number)
        self.held.add(trial.number)
        try:
            with self.turn:
                claim = Claim(self.study, self.optuna_study, trial, folder, self.objective, self.turn)
            yield claim
        finally:
            self.held.discard(trial.number)
            lease.release()

    def _taken(self, number: int) -> Lease | None:
        """The lease of a trial that nobody runs and that has not ended."""
        if number in self.held:
            return None
        lease = self.leases.take(number)
        if lease is None:
            return None
        state = self.optuna_study.get_trials(deepcopy=False)[number].state
        if state != TrialState.RUNNING:  # it ended just before
            lease.release()
            return None
        return lease

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
