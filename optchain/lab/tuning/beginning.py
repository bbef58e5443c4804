"""What a study begins with: points that are tried first, and the trials of earlier studies."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.runs import config
from optchain.lab.tuning import points, space
from optchain.lab.tuning.tables import Study

ENQUEUED, EARLIER, BEGUN = "enqueued", "earlier", "begun"  # marks of trials, and of a study that has all of these
Open = Callable[[Study, Path], optuna.Study]


def begin(optuna_study: optuna.Study, study: Study, opened: Open) -> None:
    """Add the trials of earlier studies and the points that are tried first, unless a process has done so.

    The caller holds the study's lock. Where a process was killed meanwhile, the next one adds what is missing.

    Args:
        optuna_study: as Optuna keeps it.
        study: whose `search` says what to add.
        opened: opens an earlier study.

    Raises:
        InputError: an earlier study cannot be read, or has another objective.
    """
    if BEGUN in optuna_study.user_attrs:
        return
    marks = [trial.user_attrs for trial in optuna_study.get_trials(deepcopy=False)]
    there = {mark.get(EARLIER) for mark in marks}
    for trial in (trial for folder in study.search.warm_start for trial in _fitting(folder, study, opened)):
        if trial.user_attrs[EARLIER] not in there:
            optuna_study.add_trial(trial)
    for number, point in list(enumerate(study.search.enqueue))[sum(ENQUEUED in mark for mark in marks) :]:
        labels = points.labels(point, study.space)
        optuna_study.enqueue_trial(space.stored(labels, study.space), user_attrs={ENQUEUED: number})
    optuna_study.set_user_attr(BEGUN, True)


def require_readable(study: Study) -> None:
    """The studies to begin with are there, and had the same objective.

    Raises:
        InputError: naming the folder.
    """
    for folder in study.search.warm_start:
        _read(folder, study)


def _read(folder: Path, study: Study) -> Study:
    where, path = f"search.warm_start: {folder}", folder / "study.json"
    if not path.is_file():
        near = sorted(other.parent.name for other in folder.parent.glob("*/study.json"))
        raise InputError(f"{where} is not the folder of a study; {nearest(folder.name, near)}")
    earlier = config.load(path, table=Study)
    for key in ("objective", "direction", "judge", "constraints"):
        old, new = (getattr(one.search, key, None) for one in (earlier, study))
        if old != new:
            raise InputError(f"{where}: search.{key} was {old!r}, here {new!r}; the scores cannot be compared")
    return earlier


def _fitting(folder: Path, study: Study, opened: Open) -> list[Any]:
    """The finished trials of an earlier study that lie in the space, as trials that have ended already."""
    earlier, found = _read(folder, study), []
    for trial in opened(earlier, folder).get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        labels = space.labels(trial.params, earlier.space)
        if (
            not points.lies_in(labels, study.space)
            or not all(map(math.isfinite, trial.values))
            or EARLIER in trial.user_attrs
        ):
            continue
        found.append(
            optuna.create_trial(
                state=TrialState.COMPLETE,
                values=trial.values,
                params=space.stored(labels, study.space),
                distributions={name: space.distribution(study.space[name]) for name in labels},
                constraints=trial.constraints,
                user_attrs=trial.user_attrs | {EARLIER: f"{folder}, trial {trial.number}"},
            )
        )
    return found
