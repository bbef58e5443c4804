"""A study as a file for other programs."""

import warnings
from pathlib import Path

import optuna

from optchain.lab.base.errors import InputError
from optchain.lab.tuning.tune import Tuning


def to_optuna(tuning: Tuning, path: Path) -> None:
    """Copy the trials into an SQLite file of Optuna's, as `optuna-dashboard sqlite:///FILE` reads it.

    Optuna minimizes: scores of which higher ones are better are negative there.

    Raises:
        InputError: there is such a file already, or no folder for it.
    """
    if path.exists():
        raise InputError(f"--optuna {path}: exists; choose another file")
    if not path.parent.is_dir():
        raise InputError(f"--optuna {path}: there is no folder {path.parent}")
    study, storage = tuning.claims.optuna_study, f"sqlite:///{path}"
    copy = optuna.create_study(storage=storage, study_name=tuning.folder.resolve().name, directions=study.directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        copy.set_metric_names([objective.name for objective in tuning.objective.all])
    for key, value in study.user_attrs.items():
        copy.set_user_attr(key, value)
    copy.add_trials([trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()])
