"""Who holds which trial, by files and by a table of a database."""

import pytest
from filelock import FileLock

from optchain.lab.tuning import database_leases
from optchain.lab.tuning.database_leases import DatabaseLeases
from optchain.lab.tuning.leases import FileLeases


def by_files(folder):
    return FileLeases(lambda number: folder / "trials" / f"{number:04d}")


class Elsewhere:
    """Leases of workers that share a database only, each with a folder of its own, and the time that they see."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.now = folder, 0.0
        monkeypatch.setattr(database_leases.time, "monotonic", lambda: self.now)

    def worker(self, name):
        url = f"sqlite:///{self.folder / 'leases.db'}"
        return DatabaseLeases(url, "study", name, by_files(self.folder / name), patience=4000.0)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    return Elsewhere(tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", ["files", "database"])
def test_one_worker_holds_a_trial_until_it_lets_go(tmp_path, elsewhere, kind):
    mine, other = (by_files(tmp_path) if kind == "files" else elsewhere.worker(name) for name in "ab")
    lease = mine.take(3)
    assert lease.attempt == 0 and other.take(3) is None and mine.take(3) is None
    assert other.take(4).attempt == 0  # another trial
    lease.release()
    assert other.take(3).attempt == 1 and mine.take(3) is None


def test_a_silent_worker_loses_its_trial_and_one_that_beats_does_not(elsewhere):
    silent, alive, other = (elsewhere.worker(name) for name in "abc")
    silent.take(0), alive.take(1)
    for elsewhere.now in (0.0, 3000.0):
        assert other.take(0) is None and other.take(1) is None
        alive.beat()
    elsewhere.now = 4500.0  # its last beat was seen at 3000
    assert other.take(1) is None
    assert other.take(0).attempt == 1
    assert elsewhere.worker("d").take(0) is None


def test_what_was_held_in_a_shared_folder_is_free_at_once(elsewhere):
    """Its locks say that the worker is gone, as those of a process that was killed do."""
    gone = elsewhere.worker("shared")
    held = FileLock(elsewhere.folder / "shared" / "trials" / "0000" / "lock")
    assert gone._add(0, 0)
    held.acquire()
    assert elsewhere.worker("shared").take(0) is None
    held.release()
    assert elsewhere.worker("elsewhere").take(0) is None
    assert elsewhere.worker("shared").take(0).attempt == 1


def test_of_two_that_take_the_same_attempt_one_gets_it(elsewhere, monkeypatch):
    mine, other = elsewhere.worker("a"), elsewhere.worker("b")
    monkeypatch.setattr(other, "_next", lambda number: 0)  # as if it had looked before `mine` added its row
    assert mine.take(0).attempt == 0
    assert other.take(0) is None
    assert other.files.lock(0) is not None  # and it keeps nothing locked
