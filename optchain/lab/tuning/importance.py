"""Which dimensions of a study matter."""

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from optchain.lab.tuning.sampler import as_finished
from optchain.lab.tuning.trials import Trial

LEAST = 12  # trials; a forest of fewer says nothing


def importances(study: optuna.Study, trials: Sequence[Trial]) -> dict[str, float] | str:
    """The share of the variance of the scores that each dimension accounts for, by fANOVA; or why there is none.

    The scores are those of finished and of pruned trials: a pruned one has the last score that it reported, or that of
    the worst finished one where this is better.

    Args:
        study: as Optuna keeps it.
        trials: its trials.
    """
    numbers, pruned = ({trial.number for trial in trials if trial.state == state} for state in ("finished", "pruned"))
    if not numbers or len(numbers | pruned) < LEAST:
        there = f"{len(numbers)} finished" + (f" and {len(pruned)} pruned ones" if pruned else "")
        return f"importance takes at least {LEAST} trials, finished or pruned; there are {there}"
    kept = study.get_trials(deepcopy=False)
    finished = [_complete(trial) for trial in kept if trial.number in numbers]
    worst = max(trial.values[0] for trial in finished)
    scored = finished + [as_finished(trial, worst) for trial in kept if trial.number in pruned]
    if len({trial.values[0] for trial in scored}) == 1:
        return "all trials have the same score"
    # A study of these alone: the infinite value of a diverged trial would be all of the variance.
    alone = optuna.create_study()
    alone.add_trials(scored)
    shares = get_param_importances(alone, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()} or "no dimension is one of all these trials"


def _complete(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        state=TrialState.COMPLETE, params=trial.params, distributions=trial.distributions, value=trial.values[0]
    )
