"""All that is used of Optuna's private names, each with why there is no public way.

Tried with Optuna 5.0.0, and with 4.9.0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

# Where Optuna has no such attribute any more, what uses it below has to be written anew.
USED = {"FrozenTrial": "_trial_id", "Study": "_get_trials"}

Trials = list[FrozenTrial]


def begun(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """A trial that was begun before, perhaps by another process, to go on with.

    `Study.ask` makes new trials only, and the constructor of `Trial` takes the number by which the storage knows a
    trial, which is no public attribute of it.
    """
    return optuna.Trial(study, trial._trial_id)


class OtherTrials:
    """A study as a sampler is to see it: with other trials than it has, and all else as it is.

    Optuna's samplers read trials by `Study._get_trials`, and no argument of theirs says which. Another study, filled by
    `Study.add_trial`, would not do: what a sampler writes about the trial in question is to reach this one.
    """

    def __init__(self, study: optuna.Study, besides: Sequence[TrialState], shown: Callable[[Trials], Trials]) -> None:
        """
        Args:
            study: as it is.
            besides: states of trials that `shown` is given, besides those that the sampler asks for.
            shown: what the sampler sees, from these trials; it must not change them.
        """
        self._study, self._besides, self._shown = study, tuple(besides), shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, deepcopy: bool, states: Sequence[TrialState], use_cache: bool) -> Trials:
        wider = (*states, *self._besides)
        return self._shown(self._study._get_trials(deepcopy=False, states=wider, use_cache=use_cache))
