"""Joining a study: by its folder, or by its database from a machine that shares nothing else."""

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pydantic

from optchain.core.paths import nearest
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import Run, versions
from optchain.lab.settings.load import explained
from optchain.lab.tuning import parcel, storage
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import SEARCHED, Tuning, reopened
from optchain.lab.tuning.validity import require_buildable


def by_folder(folder: Path) -> Tuning:
    """The study in a folder.

    Raises:
        InputError: there is none, or it cannot be shared.
    """
    if not (folder / "study.json").is_file():
        near = sorted(str(path.parent) for path in folder.parent.glob("*/study.json"))
        cure = nearest(str(folder), near) if near else "expected the folder that `optchain tune` has begun"
        raise InputError(f"{folder} is not the folder of a study; {cure}")
    return _shared(reopened(folder))


def by_database(url: str, name: str | None, folder: Path, trusts: bool) -> Tuning:
    """A study in a database, in a folder of this worker's own.

    Args:
        url: of the database.
        name: of the study; the one that is being searched if left out.
        folder: an empty one, for the study's files and the runs of the trials.
        trusts: whether pickles are taken, which may run anything.

    Raises:
        InputError: the database cannot be reached, there is no such study, or it needs what is not here.
    """
    storage.require_reachable(url)
    chosen = _chosen(url, name)
    content = parcel.received(chosen.user_attrs)
    content["tables"]["search"] |= {"storage": url}
    tuning = by_parcel(content, chosen.study_name, folder, folder / "project", trusts)
    Run(folder).write("database.json", {"study": chosen.study_name})
    return _shared(tuning)


def by_parcel(content: dict[str, Any], name: str, folder: Path, project: Path, trusts: bool) -> Tuning:
    """A study from what it takes along, in a folder of this worker's own.

    Args:
        content: of the parcel.
        name: of the study, to name in errors.
        folder: an empty one, for the study's files and the runs of the trials.
        project: the folder for the user's files.
        trusts: whether pickles are taken, which may run anything.

    Raises:
        InputError: it needs what is not here.
    """
    parcel.unpack(content, project, trusts)
    try:
        study = Study.model_validate(content["tables"], context={"folder": project})
    except pydantic.ValidationError as error:
        raise InputError(f"{name}: {explained(error)}") from None
    parcel.require_paths(study)
    _say_versions(content["versions"])
    # Beforehand, for a trial that cannot be built would count as infeasible everywhere.
    require_buildable(study, name)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    run.write("study.json", study.written(folder))
    run.describe(content["command"], study)
    return dataclasses.replace(reopened(folder), source=name)


def _shared(tuning: Tuning) -> Tuning:
    if tuning.study.search.sampler == "population":
        raise InputError(f"{tuning.source}: a population trains in one process, which workers cannot join")
    return tuning


def _chosen(url: str, name: str | None) -> optuna.Study:
    """The study of a name, or the only one that is being searched."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    there = optuna.get_all_study_names(url)
    if name is not None and name not in there:
        raise InputError(f"--study {name}: the database has no such study; {nearest(name, there)}")
    found = [optuna.load_study(study_name=one, storage=url) for one in ([name] if name else there)]
    found = [study for study in found if parcel.PARCEL in study.user_attrs]
    if name is None:
        found = [study for study in found if not study.user_attrs.get(SEARCHED)]
    if len(found) == 1:
        return found[0]
    if not found:
        what = "is no study that a worker can join" if name else "is being searched"
        known = f"; the database has {', '.join(there)}" if there else "; the database has no studies"
        raise InputError(f"{name or 'no study'} {what}{known}")
    raise InputError(f"several studies are being searched; expected --study with one of {', '.join(_names(found))}")


def _names(studies: list[optuna.Study]) -> list[str]:
    return [study.study_name for study in studies]


def _say_versions(theirs: dict[str, Any]) -> None:
    mine = versions()
    other = [f"{name} {mine[name]}, there {x}" for name, x in theirs.items() if mine.get(name, x) != x]
    if other:
        say(f"other versions than where the study began, and maybe other scores: {'; '.join(other)}")
