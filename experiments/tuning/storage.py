"""Where a study keeps its trials: a journal in its folder, or any database that Optuna knows."""

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from experiments.errors import InputError
from experiments.tuning import space, tables

NAME = "study"


class Lock:
    """A lock that the system takes back from a process that was killed."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path)

    def acquire(self) -> bool:
        self.lock.acquire()
        return True

    def release(self) -> None:
        self.lock.release()


class Seeded(BaseSampler):
    """A sampler whose random numbers depend on the study's seed and the trial's number only.

    Optuna's own go through one stream, which a study that is stopped and resumed would begin anew: it would propose the
    points of its first trials again.
    """

    def __init__(self, search: tables.Search) -> None:
        self.search = search
        # As many as trials may run at once: one stream must serve all dimensions of a trial.
        self._inner = functools.lru_cache(maxsize=64)(self._fresh)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        with warnings.catch_warnings():
            # What a trial that diverged is told as is infinite; the Gaussian process takes the worst finite value.
            warnings.filterwarnings("ignore", "Clip non-finite values")
            return self._inner(trial.number).sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, dimension: Any) -> Any:
        return self._inner(trial.number).sample_independent(study, trial, name, dimension)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner(trial.number).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner(trial.number).after_trial(study, trial, state, values)

    def _fresh(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self.search.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            match self.search.sampler:
                case "tpe":
                    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
                case "gp":
                    return GPSampler(seed=seed)
                case "quasi_random":  # one scrambled sequence, in which the trial takes the place of its number
                    # What the sequence has no dimension for, as it is conditional, has to differ from trial to trial.
                    rest = RandomSampler(seed=seed)
                    return QMCSampler(
                        scramble=True,
                        seed=self.search.seed,
                        independent_sampler=rest,
                        warn_independent_sampling=False,
                    )
                case _:
                    return RandomSampler(seed=seed)


def opened(study: tables.Study, folder: Path) -> optuna.Study:
    """The study in a folder or a database; begun if there is none yet.

    Raises:
        InputError: the database cannot be opened, or a library is missing.
    """
    search = study.search
    if search.sampler == "gp":
        try:
            import torch  # noqa: F401
        except ImportError:
            raise InputError("search.sampler = 'gp' needs torch: pip install 'optchain[gp]', or use 'tpe'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        found = optuna.create_study(
            storage=_storage(search, folder),
            sampler=Seeded(search),
            pruner=pruner(study),
            study_name=NAME if search.storage is None else str(folder),
            direction="minimize",
            load_if_exists=True,
        )
    except Exception as error:
        if search.storage is None:
            raise
        raise InputError(f"search.storage = {search.storage!r}: {error}") from error
    if search.sampler == "grid":
        with FileLock(folder / "grid.lock"):
            for point in space.grid(study.space)[len(found.get_trials(deepcopy=False)) :]:
                found.enqueue_trial(point)
    return found


def pruner(study: tables.Study) -> BasePruner:
    """What ends trials early, by the steps they have made."""
    table, train = study.search.pruner, study.train
    match table:
        case None:
            return NopPruner()
        case tables.Median():
            return MedianPruner(n_startup_trials=table.trials, n_warmup_steps=table.steps)
    rung = table.steps or train.evaluate_every
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(table, tables.Halving):
            return SuccessiveHalvingPruner(min_resource=rung, reduction_factor=table.factor)
        return HyperbandPruner(min_resource=rung, max_resource=train.steps, reduction_factor=table.factor)


def _storage(search: tables.Search, folder: Path) -> str | BaseStorage:
    if search.storage is not None:
        return search.storage
    path = folder / "study.journal"
    lock = Lock(folder / "journal.lock")
    lock.acquire()
    try:
        _mend(path)
        return JournalStorage(JournalFileBackend(str(path), lock))
    finally:
        lock.release()


def _mend(path: Path) -> None:
    """Cut off a last line that a killed process did not finish, or every later one would be unreadable."""
    if path.exists():
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
