"""Where a study keeps its trials: a journal in its folder, or any database that Optuna knows."""

import json
import os
import uuid
import warnings
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import Run
from optchain.lab.settings.own import Own
from optchain.lab.tuning import beginning, pruners, space, tables
from optchain.lab.tuning.sampler import Seeded, lacks, require_buildable

NAME, JOURNAL = "study", "study.journal"
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
    if search.storage is None:
        return
    import sqlalchemy  # Optuna's own, needed for databases only

    try:
        with sqlalchemy.create_engine(search.storage).connect():
            pass
    except ModuleNotFoundError as error:
        cure = f"pip install {PACKAGES.get(str(error.name), error.name)}"
        raise InputError(f"search.storage = {search.storage!r} needs the driver {error.name}: {cure}") from error
    except Exception as error:
        raise _unreachable(search, error) from error


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
            directions=["minimize"] * len(search.aims),
            load_if_exists=True,
        )
    except json.JSONDecodeError as error:
        raise InputError(f"{folder / JOURNAL}: a line of it is no JSON: {error}; mend or remove that line") from None
    except Exception as error:
        if search.storage is None:
            raise
        raise _unreachable(search, error) from error
    with FileLock(folder / "study.lock"):
        beginning.begin(optuna_study, study, opened)
        if search.sampler == "grid":
            for point in space.grid(study.space)[len(optuna_study.get_trials(deepcopy=False)) :]:
                optuna_study.enqueue_trial(space.stored(point, study.space))
    return optuna_study


def _require_sampler(search: tables.Search) -> None:
    if library := lacks(search.sampler):
        install = "'optchain[gp]'" if search.sampler == "gp" else library
        raise InputError(f"search.sampler = {search.sampler!r} needs {library}: pip install {install}, or use 'tpe'")
    require_buildable(search)


def _unreachable(search: tables.Search, error: Exception) -> InputError:
    first, *_ = str(error).splitlines() or [type(error).__name__]  # further lines are addresses of manuals
    return InputError(f"search.storage = {search.storage!r}: {first}")


def pruner(study: tables.Study) -> BasePruner:
    """What ends trials early, by the steps they have made."""
    table, train = study.search.pruner, study.train
    match table:
        case None:
            return NopPruner()
        case Own():
            return _own_pruner(table)
        case pruners.Median():
            return MedianPruner(n_startup_trials=table.trials, n_warmup_steps=table.steps)
    rung = table.steps or train.evaluate_every
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(table, pruners.Halving):
            return SuccessiveHalvingPruner(min_resource=rung, reduction_factor=table.factor)
        return HyperbandPruner(min_resource=rung, max_resource=train.steps, reduction_factor=table.factor)


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
    path = folder / "database.json"
    with FileLock(folder / "study.lock"):
        if not path.exists():
            Run(folder).write(path.name, {"study": f"{folder.resolve().name}-{uuid.uuid4().hex[:12]}"})
        return json.loads(path.read_text())["study"]


def _storage(search: tables.Search, folder: Path) -> str | BaseStorage:
    if search.storage is not None:
        return search.storage
    path = folder / JOURNAL
    lock = Lock(folder / "journal.lock")
    lock.acquire()
    try:
        _mend(path)
        return JournalStorage(JournalFileBackend(str(path), lock))
    finally:
        lock.release()


def _mend(path: Path) -> None:
    """Cut off a last line that a killed process did not finish, or every later one would be unreadable."""
    if path.exists():
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
