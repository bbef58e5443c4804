"""The folder of a study as tasks of Ray reach it, which may share no disk with it: an actor beside the command."""

# pyright: reportMissingImports=false

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from optchain.lab.base.files import PART
from optchain.lab.runs.writer import HOLDER
from optchain.lab.tuning import storage
from optchain.lab.tuning.leases import ATTEMPT
from optchain.lab.tuning.sampler import Seeded
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import folder_of


class Home:
    """What an actor of Ray does for the tasks of a study. It reads and writes the journal as any worker does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, storage.journal(folder)

    def read_logs(self, start: int) -> list[dict[str, Any]]:
        """The lines of the journal from one on."""
        return list(self.journal.read_logs(start))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write further lines of the journal."""
        self.journal.append_logs(logs)

    def files(self, number: int) -> bytes:
        """The files of a trial, to go on with."""
        return packed(folder_of(self.folder, number))

    def take(self, number: int, files: bytes) -> None:
        """Write the files of a trial, from where it ran."""
        unpack(files, folder_of(self.folder, number))


class FarJournal(BaseJournalBackend):
    """The journal of a study by way of its home."""

    def __init__(self, home: Any) -> None:
        """
        Args:
            home: the handle of the actor.
        """
        self.home = home

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        import ray

        return ray.get(self.home.read_logs.remote(log_number_from))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        import ray

        ray.get(self.home.append_logs.remote(logs))


def opened(study: Study, home: Any) -> optuna.Study:
    """The study of a home, as Optuna keeps it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = JournalStorage(FarJournal(home))
    return optuna.load_study(
        study_name=storage.NAME, storage=backend, sampler=Seeded(study.search), pruner=storage.pruner(study)
    )


def packed(folder: Path, besides: tuple[str, ...] = ()) -> bytes:
    """The files of a trial as one; its locks stay, and what is being written.

    Args:
        folder: of the trial.
        besides: names of folders and files that stay, too.
    """
    stay = {*besides, HOLDER, ATTEMPT}

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = Path(member.name)
        return None if path.name in stay or path.suffix in (PART, ".lock") or path.name == "lock" else member

    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        if folder.is_dir():
            archive.add(folder, ".", filter=wanted)
    return written.getvalue()


def unpack(files: bytes, folder: Path) -> None:
    """Write the files of a trial into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="data")
