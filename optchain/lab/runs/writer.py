"""Who writes to a folder: one process at a time, and no one removes what another is writing."""

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import write_whole

LOCK, HOLDER = "writer.lock", "writer.json"  # the lock, and who holds it


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Within this context no other process writes to a folder, which is made if it is not there.

    The system releases the lock when a process ends, also one that is killed.

    Raises:
        InputError: another process writes to it; says which one, on which machine, and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise _taken(folder) from None
    try:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        write_whole(holder, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}) + "\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def remove(folder: Path) -> None:
    """Remove a folder of several runs, such as that of a study.

    Raises:
        InputError: a process holds a lock in it; nothing is removed.
    """
    with contextlib.ExitStack() as locks:
        # Those that say who holds them come first.
        for path in sorted(filter(Path.is_file, folder.rglob("*lock")), key=lambda path: path.name != LOCK):
            try:
                locks.enter_context(FileLock(path).acquire(blocking=False))
            except Timeout:
                raise _taken(path.parent) from None
    shutil.rmtree(folder)


def empty(folder: Path) -> None:
    """Remove everything in a folder but the lock by which this process writes to it."""
    for path in folder.iterdir():
        if path.name not in (LOCK, HOLDER):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _taken(folder: Path) -> InputError:
    cure = "wait until it has ended, stop it, or choose another --out"
    try:
        who = json.loads((folder / HOLDER).read_text())
    except (OSError, ValueError):  # it has just begun or ended
        return InputError(f"another process writes to {folder}; {cure}")
    who = "process {pid} on {host} has written to it since {since}".format(**who)
    return InputError(f"{folder} is in use: {who}; {cure}")
