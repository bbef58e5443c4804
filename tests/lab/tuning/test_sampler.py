import math

import optuna
import pytest

from optchain.lab.tuning.sampler import Seeded, pruned_as_finished
from optchain.lab.tuning.tables import Search

FINISHED, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


def study(sampler):
    return optuna.create_study(sampler=Seeded(Search(trials=1, sampler=sampler)))


def test_conditional_dimensions_are_drawn_anew_by_the_quasi_random_sampler():
    found, drawn = study("quasi_random"), []
    for _ in range(12):
        trial = found.ask()
        first = trial.suggest_float("first", 0, 1)
        if first < 0.5:
            drawn.append(trial.suggest_float("second", 0, 1))
        found.tell(trial, first)
    # The first trial has no second number, so that the sequence has none either.
    assert "second" not in found.trials[0].params
    assert len(drawn) > 3 and len(set(drawn)) == len(drawn)


def test_the_gaussian_process_goes_on_quietly_after_a_trial_that_diverged():
    pytest.importorskip("torch")
    found = study("gp")
    for number in range(12):
        trial = found.ask()
        value = (trial.suggest_float("x", 0, 1) - 0.3) ** 2
        found.tell(trial, math.inf if number == 2 else value)
    assert abs(found.best_params["x"] - 0.3) < 0.1


def test_the_gaussian_process_sees_pruned_trials():
    pytest.importorskip("torch")
    found = study("gp")
    for number in range(12):
        trial = found.ask()
        x = trial.suggest_float("x", 0, 1)
        value = (x - 0.3) ** 2
        trial.report(value + 2, 1)
        found.tell(trial, value if number < 2 else None, FINISHED if number < 2 else PRUNED)
    seen = pruned_as_finished(found, {"x": None})._get_trials(deepcopy=False, states=(FINISHED,), use_cache=False)
    worst = max(one.value for one in found.trials[:2])
    assert [one.value for one in seen] == [one.value for one in found.trials[:2]] + [worst] * 10
    assert [one.params for one in seen] == [one.params for one in found.trials]
    assert len(pruned_as_finished(found, {"y": None})._get_trials(False, (FINISHED,), False)) == 2
    assert all(one.state == PRUNED for one in found.trials[2:])  # in the study nothing has changed
    # Only two have finished, yet there is enough to propose from.
    trial = found.ask()
    assert set(trial.relative_params) == {"x"}


def test_the_gaussian_process_leaves_out_pruned_trials_without_the_dimensions_in_question():
    pytest.importorskip("torch")
    found = study("gp")
    for _ in range(24):
        trial = found.ask()
        kind = trial.suggest_categorical("kind", ["pruned", "finished"])
        x = trial.suggest_float("x", 0, 1) if kind == "finished" else 0.0  # a dimension that all finished trials have
        trial.report(x, 1)
        found.tell(trial, None if kind == "pruned" else x, PRUNED if kind == "pruned" else FINISHED)
    assert {one.state for one in found.trials} == {FINISHED, PRUNED} and len(found.trials) == 24
