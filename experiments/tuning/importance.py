"""Which dimensions of a study matter."""

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from experiments.tuning.trials import Trial

LEAST = 12  # finished trials; a forest of fewer says nothing


def importances(study: optuna.Study, trials: Sequence[Trial]) -> dict[str, float] | str:
    """The share of the variance of the finished trials' scores that each dimension accounts for, by fANOVA; or why
    there is none.

    Args:
        study: as Optuna keeps it.
        trials: its trials.
    """
    numbers = {trial.number for trial in trials if trial.state == "finished"}
    if len(numbers) < LEAST:
        return f"importance takes at least {LEAST} finished trials; there are {len(numbers)}"
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.number in numbers]
    if len({trial.values[0] for trial in finished}) == 1:
        return "all trials have the same score"
    # A study of the finished ones alone: the infinite value of a diverged trial would be all of the variance.
    alone = optuna.create_study()
    alone.add_trials([_complete(trial) for trial in finished])
    shares = get_param_importances(alone, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()} or "no dimension is one of all finished trials"


def _complete(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        state=TrialState.COMPLETE, params=trial.params, distributions=trial.distributions, value=trial.values[0]
    )
