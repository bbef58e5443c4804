import importlib
import math

import optuna
import pydantic
import pytest
from pydantic import TypeAdapter

from optchain.lab.base.errors import InputError
from optchain.lab.tuning.sampler import Seeded, lacks, pruned_as_finished, require_buildable
from optchain.lab.tuning.samplers import AnySampler, is_adaptive, is_repeatable
from optchain.lab.tuning.tables import Search

FINISHED, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


def study(sampler):
    return optuna.create_study(sampler=Seeded(Search(trials=1, sampler=sampler)))


def points(search, resumed):
    """The points of the trials of a study, each asked of a sampler that was just made if it is resumed each time."""
    found, drawn = optuna.create_study(sampler=Seeded(search)), []
    for _ in range(30):
        found.sampler = Seeded(search) if resumed else found.sampler
        trial = found.ask()
        drawn.append((trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)))
        found.tell(trial, (drawn[-1][0] - 0.3) ** 2 + (drawn[-1][1] - 0.6) ** 2)
    return drawn


def search_by(sampler):
    return Search.model_validate({"trials": 1, "sampler": sampler})


@pytest.mark.parametrize(
    "sampler",
    [
        "cma_es",
        "nsga2",
        "optuna.samplers:CmaEsSampler",
        {"use": "optuna.samplers:TPESampler", "n_startup_trials": 3},
        {"use": "optuna.samplers:QMCSampler", "scramble": True},
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_that_was_just_made_goes_on_as_another_would(sampler):
    search = search_by(sampler)
    drawn = points(search, resumed=False)
    assert is_repeatable(search.sampler) and points(search, resumed=True) == drawn and len(set(drawn)) == 30
    if sampler == "cma_es":
        assert min(abs(x - 0.3) + abs(y - 0.6) for x, y in drawn[15:]) < 0.15


def test_the_users_sampler_and_its_state(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    table = TypeAdapter(AnySampler)
    sampler = table.validate_python("mine.py:Counting", context={"folder": tmp_path})
    assert sampler.use == f"{tmp_path / 'mine.py'}:Counting" and not is_repeatable(sampler) and is_adaptive(sampler)
    sampler = table.validate_python({"use": "mine.py:Counting", "by": 0.25}, context={"folder": tmp_path})
    search = Search(trials=1, sampler=sampler)
    found = optuna.create_study(sampler=Seeded(search))
    drawn = []
    for _ in range(3):
        trial = found.ask()
        drawn.append(trial.suggest_float("x", 0, 1))
        found.tell(trial, 0.0)
    assert drawn == [0.25, 0.5, 0.75]
    with pytest.raises(InputError, match="search.sampler: .*mine.py:wrong gave 3; expected an optuna.samplers.BaseS"):
        wrong = table.validate_python("mine.py:wrong", context={"folder": tmp_path})
        require_buildable(Search(trials=1, sampler=wrong))


OWN = """
from optuna.samplers import BaseSampler


class Counting(BaseSampler):
    def __init__(self, by: float = 0.1):
        self.by, self.count = by, 0

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, name, distribution):
        self.count += 1
        return self.by * self.count


def wrong():
    return 3
"""


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("tpee", "got 'tpee'; did you mean 'tpe'"),
        ({"use": "tpe", "n_startup_trials": 3}, "'tpe' takes no parameters here, got 'n_startup_trials'"),
        ({"use": "optuna.samplers:TPESampler", "n_startup": 3}, "did you mean 'n_startup_trials'"),
        ({"use": "optuna.samplers:TPESampler", "seed": 3}, "follows from search.seed"),
        ("optuna.samplers:TPESampl", "did you mean 'TPESampler'"),
        (3, "got 3; expected the name of a sampler"),
    ],
)
def test_samplers_that_are_none_are_errors(sampler, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        search_by(sampler)


def test_a_sampler_that_is_not_installed_is_an_error(monkeypatch):
    monkeypatch.setitem(importlib.sys.modules, "cmaes", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert lacks("cma_es") == "cmaes" and lacks("gp") == "torch" and lacks("tpe") is None


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
