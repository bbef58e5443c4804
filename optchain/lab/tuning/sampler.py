"""What proposes the points of a study."""

import functools
import importlib.util
import math
import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from optchain.lab.base.errors import InputError
from optchain.lab.settings.own import Own
from optchain.lab.tuning import tables
from optchain.lab.tuning.optuna_private import OtherTrials
from optchain.lab.tuning.samplers import is_repeatable, takes

NEEDS = {"gp": "torch", "cma_es": "cmaes"}


def lacks(sampler: Any) -> str | None:
    """What has to be installed before a sampler can be used, or None."""
    package = NEEDS.get(sampler) if isinstance(sampler, str) else None
    return package if package and importlib.util.find_spec(package) is None else None


def require_buildable(search: tables.Search) -> None:
    """A sampler by place can be built, with all that it needs.

    Raises:
        InputError: naming what it raised, or what to install.
    """
    if isinstance(search.sampler, Own):
        try:
            built = Seeded(search).fresh(0)
        except ImportError as error:
            raise InputError(f"search.sampler: {search.sampler.use}: {error}") from None
        except InputError as error:
            raise InputError(f"search.sampler: {error}") from None
        if not isinstance(built, BaseSampler):
            found = f"{search.sampler.use} gave {built!r}"
            raise InputError(f"search.sampler: {found}; expected an optuna.samplers.BaseSampler")


class Seeded(BaseSampler):
    """A sampler whose random numbers depend on the study's seed and the trial's number only.

    Optuna's own go through one stream, which a study that is stopped and resumed would begin anew: it would propose the
    points of its first trials again. A sampler by place that takes a seed is built for each trial; any other once, and
    a study that is resumed begins it again.
    """

    def __init__(self, search: tables.Search) -> None:
        self.search = search
        # As many as trials may run at once: one stream must serve all dimensions of a trial.
        self._inner = functools.lru_cache(maxsize=64)(self.fresh)
        if not is_repeatable(search.sampler):
            once = functools.cache(lambda: self.fresh(0))
            self._inner = lambda number: once()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        seen = pruned_as_finished(study, search_space) if self.search.sampler == "gp" else study
        with warnings.catch_warnings():
            # What a trial that diverged is told as is infinite; the Gaussian process takes the worst finite value.
            warnings.filterwarnings("ignore", "Clip non-finite values")
            return self._inner(trial.number).sample_relative(seen, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner(trial.number).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner(trial.number).before_trial(stoppable(study), trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner(trial.number).after_trial(stoppable(study), trial, state, values)

    def fresh(self, number: int) -> BaseSampler:
        """The sampler for the trial of a number."""
        seed = int(np.random.SeedSequence([self.search.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            match self.search.sampler:
                case Own() as own:
                    if own.placed.target is QMCSampler:  # one sequence for all trials
                        seed = self.search.seed
                    return own.build(**{"seed": seed} if takes(own, "seed") else {})
                case "cma_es":
                    return CmaEsSampler(seed=seed, warn_independent_sampling=False)
                case "nsga2":
                    return NSGAIISampler(seed=seed)
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


STOPPED = "stopped"  # the study's attribute that says that its sampler has no more points


class Stoppable:
    """A study as a sampler is to see it that stops the study when it has no more points.

    `Study.stop` works within `Study.optimize` only.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def stop(self) -> None:
        """Begin no further trials."""
        self._study.set_user_attr(STOPPED, True)


def stoppable(study: optuna.Study) -> optuna.Study:
    """A study that its sampler may stop."""
    return cast(optuna.Study, Stoppable(study))  # Optuna names the class where it needs the attributes


def pruned_as_finished(study: optuna.Study, search_space: Any) -> optuna.Study:
    """A study as the Gaussian process is to see it, with its pruned trials among the finished ones.

    Optuna's leaves pruned trials out: it would propose where they were again and again, and with most trials pruned it
    would be long before it has seen enough of them to propose anything. Here a pruned trial has the last value that it
    reported, or that of the worst finished one where this is better: what was seen after a few steps may be off the
    scale of all others.

    Args:
        study: as it is.
        search_space: the dimensions in question; a pruned trial that does not have all of them stays out.
    """

    def shown(trials: list[FrozenTrial]) -> list[FrozenTrial]:
        finished = [trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE]
        worst = max(filter(math.isfinite, finished), default=math.inf)
        return [
            as_finished(trial, worst) if trial.state == TrialState.PRUNED else trial
            for trial in trials
            if trial.state != TrialState.PRUNED or search_space.keys() <= trial.params.keys()
        ]

    return cast(optuna.Study, OtherTrials(study, (TrialState.PRUNED,), shown))


def as_finished(pruned: FrozenTrial, worst: float) -> FrozenTrial:
    """A pruned trial as one that finished with the last value that it reported, or with the worst where this is better
    or none was reported."""
    last = pruned.last_step
    value = worst if last is None else min(pruned.intermediate_values[last], worst)
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE, value=value, params=pruned.params, distributions=pruned.distributions
    )
