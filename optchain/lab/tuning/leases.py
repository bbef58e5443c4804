"""Who holds which trial: one worker at a time, which loses its lease by dying. Here by locks on files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

ATTEMPT = "attempt"  # the file beside a lock that says how often the trial has been taken


@dataclasses.dataclass(frozen=True)
class Lease:
    """A trial that this worker holds."""

    attempt: int  # 0 for the first worker that has taken it
    release: Callable[[], None]


class Leases(Protocol):
    """The leases of a study."""

    def take(self, number: int) -> Lease | None:
        """The lease of a trial, None where another worker holds it or may still be alive."""
        ...


class FileLeases:
    """Locks on files, which the system takes back from a process that was killed.

    Args:
        folder: gives the folder of a trial's lock, by the trial's number.
    """

    def __init__(self, folder: Callable[[int], Path]) -> None:
        self.folder = folder

    def take(self, number: int) -> Lease | None:
        lock = self.lock(number)
        if lock is None:
            return None
        path = self.folder(number) / ATTEMPT
        attempt = int(path.read_text() or 0) if path.is_file() else 0
        path.write_text(str(attempt + 1))
        return Lease(attempt, lock.release)

    def lock(self, number: int) -> FileLock | None:
        """The lock of a trial, without counting that it was taken; None where another worker holds it."""
        folder = self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        return lock
