"""Where a study keeps its trials: a journal in its folder, or any database that Optuna knows."""

import functools
import hashlib
import json
import os
import platform
import uuid
import warnings
from pathlib import Path
from typing import cast

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection

from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import Run
from optchain.lab.settings.own import Own
from optchain.lab.tuning import beginning, cluster, pruners, space, tables
from optchain.lab.tuning.clock import Clock, FolderClock, StudyClock
from optchain.lab.tuning.leases import FileLeases, Leases
from optchain.lab.tuning.sampler import Seeded, lacks, require_buildable
from optchain.lab.tuning.trials import folder_of

NAME, JOURNAL, DATABASE = "study", "study.journal", "database.json"
# The packages of drivers that are not named like their modules.
PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


class Lock:
    """A lock that the system takes back from a process that was killed."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path)

    def acquire(self) -> bool:
        self.lock.acquire()
        return True

    def release(self) -> None:
        self.lock.release()


def require_usable(search: tables.Search) -> None:
    """What a study needs to propose and to keep its trials is installed, and its database can be reached.

    Nothing is written, except that SQLite makes an empty file.

    Raises:
        InputError: naming what to install, or why the database cannot be reached.
    """
    _require_sampler(search)
    if isinstance(search.pruner, Own):
        _own_pruner(search.pruner)
    if search.parallel == "ray":
        cluster.require_installed()
    if search.storage is not None:
        require_reachable(search.storage)


def require_reachable(url: str) -> None:
    """The driver of a database is installed, and the database can be reached.

    Raises:
        InputError: naming what to install, or why the database cannot be reached.
    """
    import sqlalchemy  # Optuna's own, needed for databases only

    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect():
            pass
        engine.dispose()
    except ModuleNotFoundError as error:
        cure = f"pip install {PACKAGES.get(str(error.name), error.name)}"
        raise InputError(f"search.storage = {url!r} needs the driver {error.name}: {cure}") from error
    except Exception as error:
        raise _unreachable(url, error) from error


def opened(study: tables.Study, folder: Path) -> optuna.Study:
    """The study in a folder or a database; begun if there is none yet.

    Raises:
        InputError: the database or the journal cannot be read, or a library is missing.
    """
    search = study.search
    _require_sampler(search)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = NAME if search.storage is None else _name(folder)
    try:
        optuna_study = optuna.create_study(
            storage=_storage(search, folder),
            sampler=Seeded(search),
            pruner=pruner(study),
            study_name=name,
            directions=[StudyDirection.MINIMIZE] * len(search.aims),
            load_if_exists=True,
        )
    except json.JSONDecodeError as error:
        raise InputError(f"{folder / JOURNAL}: a line of it is no JSON: {error}; mend or remove that line") from None
    except Exception as error:
        if search.storage is None:
            raise
        raise _unreachable(search.storage, error) from error
    with FileLock(folder / "study.lock"):
        beginning.begin(optuna_study, study, opened)
        if search.sampler == "grid":
            for point in space.grid(study.space)[len(optuna_study.get_trials(deepcopy=False)) :]:
                optuna_study.enqueue_trial(space.stored(point, study.space))
    return optuna_study


def seen(study: tables.Study, folder: Path) -> optuna.Study:
    """The study in a folder or a database as it is now, to be read; one without trials where it has not begun.

    No lock is taken and nothing is written. Of a line that is being written nothing is seen.
    """
    search, path = study.search, folder / (JOURNAL if study.search.storage is None else DATABASE)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        text = path.read_text()  # there, or Optuna would make the file of a journal
        if search.storage is None:
            return optuna.load_study(study_name=NAME, storage=JournalStorage(JournalFileBackend(str(path))))
        return optuna.load_study(study_name=json.loads(text)["study"], storage=search.storage)
    except (FileNotFoundError, KeyError):
        return optuna.create_study(directions=[StudyDirection.MINIMIZE] * len(search.aims))


def leases(search: tables.Search, folder: Path) -> Leases:
    """Who holds which trial of the study in a folder."""
    files = FileLeases(functools.partial(folder_of, folder))
    if search.storage is None:
        return files
    import sqlalchemy

    url, name = sqlalchemy.make_url(search.storage), _name(folder)
    if url.get_backend_name() == "sqlite":  # a file of this machine, beside which there may be locks
        beside = Path(f"{url.database}.leases") / name
        return FileLeases(lambda number: beside / f"{number:04d}")
    from optchain.lab.tuning.database_leases import DatabaseLeases

    return DatabaseLeases(search.storage, name, _identity(folder), files, search.patience)


def _identity(folder: Path) -> str:
    """What no other folder has, on this machine or another, a copy of it neither."""
    path = folder.resolve()
    there = [platform.node(), str(path), *map(str, (path.stat().st_dev, path.stat().st_ino))]
    return hashlib.sha1("\n".join(there).encode()).hexdigest()


def clock(search: tables.Search, folder: Path, optuna_study: optuna.Study) -> Clock:
    """What counts the seconds of the study in a folder."""
    return FolderClock(folder) if search.storage is None else StudyClock(optuna_study)


def _require_sampler(search: tables.Search) -> None:
    if library := lacks(search.sampler):
        install = "'optchain[gp]'" if search.sampler == "gp" else library
        raise InputError(f"search.sampler = {search.sampler!r} needs {library}: pip install {install}, or use 'tpe'")
    require_buildable(search)


def _unreachable(url: str, error: Exception) -> InputError:
    first, *_ = str(error).splitlines() or [type(error).__name__]  # further lines are addresses of manuals
    return InputError(f"search.storage = {url!r}: {first}")


def pruner(study: tables.Study) -> BasePruner:
    """What ends trials early, by the steps they have made, or by the epochs where these are their length."""
    table, train = study.search.pruner, study.train
    match table:
        case None:
            return NopPruner()
        case Own():
            return _own_pruner(table)
        case pruners.Median():
            return MedianPruner(n_startup_trials=table.trials, n_warmup_steps=table.steps)
    counted = train.epochs if train.is_in_epochs else None
    one, whole = (1, counted) if counted else (train.evaluate_every, train.last_step)
    rung = table.steps or one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(table, pruners.Halving):
            return SuccessiveHalvingPruner(min_resource=rung, reduction_factor=table.factor)
        return HyperbandPruner(min_resource=rung, max_resource=whole, reduction_factor=table.factor)


def _own_pruner(table: Own) -> BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            built = table.build()
        except InputError as error:
            raise InputError(f"search.pruner: {error}") from None
    if not isinstance(built, BasePruner):
        raise InputError(f"search.pruner: {table.use} gave {built!r}; expected an optuna.pruners.BasePruner")
    return built


def _name(folder: Path) -> str:
    """The name of a study in a database: that of its folder and what no other folder has, wherever the folder is
    moved to; a study that is overwritten is another."""
    path = folder / DATABASE
    with FileLock(folder / "study.lock"):
        if not path.exists():
            Run(folder).write(path.name, {"study": f"{folder.resolve().name}-{uuid.uuid4().hex[:12]}"})
        return json.loads(path.read_text())["study"]


def _storage(search: tables.Search, folder: Path) -> str | BaseStorage:
    return search.storage or JournalStorage(journal(folder))


def journal(folder: Path) -> JournalFileBackend:
    """The journal of the study in a folder."""
    path = folder / JOURNAL
    lock = Lock(folder / "journal.lock")
    lock.acquire()
    try:
        _mend(path)
        # The base of Optuna's locks, which this one stands in for, has no public name.
        return JournalFileBackend(str(path), cast(JournalFileOpenLock, lock))
    finally:
        lock.release()


def _mend(path: Path) -> None:
    """Cut off a last line that a killed process did not finish, or every later one would be unreadable."""
    if path.exists():
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
