"""Optuna's private names, which may go with any version of it."""

import ast
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import GPSampler

import optchain.lab
from optchain.lab.tuning import optuna_private
from optchain.lab.tuning.optuna_private import USED, OtherTrials, begun

FILES = Path(optchain.lab.__file__).parent


@pytest.mark.parametrize(("owner", "name"), USED.items())
def test_optuna_still_has_what_is_used(owner, name):
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(value=0.0))
    found = {"Study": study, "FrozenTrial": study.trials[0]}[owner]
    gone = f"Optuna {optuna.__version__} has no {owner}.{name}: {optuna_private.__file__} needs another way"
    assert hasattr(found, name), gone


def test_a_trial_that_was_begun_goes_on():
    study = optuna.create_study()
    first, second = study.ask(), study.ask()
    assert second.suggest_float("x", 0, 1) != first.suggest_float("x", 0, 1)
    second.report(0.5, 1)
    again = begun(study, study.trials[1])
    again.report(0.25, 2)
    study.tell(again, 0.125)
    assert study.trials[1].intermediate_values == {1: 0.5, 2: 0.25} and study.best_trial.params == second.params
    assert study.trials[0].state == optuna.trial.TrialState.RUNNING


def test_samplers_read_the_trials_that_they_are_shown():
    study, given = optuna.create_study(), []
    for value in (1.0, 2.0):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    seen = OtherTrials(study, (optuna.trial.TrialState.PRUNED,), lambda trials: given.append(trials) or [])
    proposed = GPSampler(seed=0).sample_relative(seen, study.trials[2], {"x": FloatDistribution(0, 1)})
    assert proposed == {}, "from no trial that has ended there is nothing to propose from"
    assert given, (
        f"Optuna {optuna.__version__}: the Gaussian process reads trials by another name than Study._get_trials"
    )
    assert [trial.number for trial in given[0]] == [0, 1, 2] and seen.trials[1].value == 2


PUBLIC = ("_asdict", "_exit", "_fields", "_replace")  # by what is written of them


def test_no_other_file_uses_private_names_of_others():
    found = {
        f"{path.relative_to(FILES)}: {ast.unparse(node)}"
        for path in FILES.rglob("*.py")
        if path != Path(optuna_private.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if ast.unparse(node.value) not in ("self", "cls")
        and node.attr not in ("_asdict", "_exit", "_fields", "_replace")
    }
    assert not found
