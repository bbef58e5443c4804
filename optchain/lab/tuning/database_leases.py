"""Who holds which trial, by a table in the database of the study: for workers that share nothing else."""

import contextlib
import threading
import time
import weakref

import sqlalchemy
from sqlalchemy import Boolean, Column, Integer, String, Table
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from optchain.lab.tuning.leases import FileLeases, Lease

BEATS = 4  # within the time after which a silent worker is given up

METADATA = sqlalchemy.MetaData()
TABLE = Table(
    "optchain_leases",
    METADATA,
    Column("study", String(200), primary_key=True),
    Column("trial", Integer, primary_key=True),
    # The key is what makes taking a lease atomic: of two workers that add the same attempt, the database refuses one.
    Column("attempt", Integer, primary_key=True),
    Column("folder", String(40), nullable=False),  # of the worker
    Column("beats", Integer, nullable=False),
    Column("released", Boolean, nullable=False),
)


class DatabaseLeases:
    """Rows of a table, of which the worker that holds one raises the number of its beats.

    A lease may be taken over where the worker has released it, where nobody has seen it beat for some seconds, or where
    it was one of this worker's folder, whose locks say that it is gone. No clocks of different machines are compared.
    """

    def __init__(self, url: str, study: str, folder: str, files: FileLeases, patience: float) -> None:
        """
        Args:
            url: of the database.
            study: its name there.
            folder: an identity of the folder that this worker shares with others, or has for itself.
            files: the locks within that folder.
            patience: seconds after which a worker that does not beat is given up.
        """
        self.engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
        self.study, self.folder, self.files, self.patience = study, folder, files, patience
        self.seen: dict[int, tuple[tuple[int, int], float]] = {}  # by trial: an attempt, its beats, and since when
        self.held: dict[int, int] = {}  # the attempt, by trial
        with contextlib.suppress(DBAPIError):  # another worker has just made it
            METADATA.create_all(self.engine)
        threading.Thread(target=_beat, args=(weakref.ref(self), patience / BEATS), daemon=True).start()

    def take(self, number: int) -> Lease | None:
        lock = self.files.lock(number)
        if lock is None:
            return None
        attempt = self._next(number)
        if attempt is None or not self._add(number, attempt):
            lock.release()
            return None
        self.held[number] = attempt

        def release() -> None:
            del self.held[number]
            lock.release()
            with self.engine.begin() as connection:
                connection.execute(TABLE.update().where(self._is(number, attempt)).values(released=True))

        return Lease(attempt, release)

    def beat(self) -> None:
        """Say that this worker is alive."""
        for number, attempt in list(self.held.items()):
            with self.engine.begin() as connection:
                change = TABLE.update().where(self._is(number, attempt)).values(beats=TABLE.c.beats + 1)
                connection.execute(change)

    def _next(self, number: int) -> int | None:
        """The attempt that comes after the last one, None while that may go on."""
        of_trial = (TABLE.c.study == self.study) & (TABLE.c.trial == number)
        last = TABLE.select().where(of_trial).order_by(TABLE.c.attempt.desc()).limit(1)
        with self.engine.connect() as connection:
            row = connection.execute(last).first()
        if row is None:
            return 0
        signs, now = (row.attempt, row.beats), time.monotonic()
        if self.seen.get(number, (None,))[0] != signs:
            self.seen[number] = signs, now
        is_silent = now - self.seen[number][1] >= self.patience
        return row.attempt + 1 if row.released or row.folder == self.folder or is_silent else None

    def _add(self, number: int, attempt: int) -> bool:
        values = {"study": self.study, "trial": number, "attempt": attempt, "folder": self.folder}
        try:
            with self.engine.begin() as connection:
                connection.execute(TABLE.insert().values(**values, beats=0, released=False))
        except IntegrityError:
            return False
        return True

    def _is(self, number: int, attempt: int) -> sqlalchemy.ColumnElement[bool]:
        return (TABLE.c.study == self.study) & (TABLE.c.trial == number) & (TABLE.c.attempt == attempt)


def _beat(leases: weakref.ref[DatabaseLeases], pause: float) -> None:
    """Beat as long as the leases are in use."""
    while True:
        time.sleep(pause)
        used = leases()
        if used is None:
            return
        with contextlib.suppress(SQLAlchemyError):  # out of reach for now; the next beat may be heard
            used.beat()
        del used
