"""Workers of a PostgreSQL database, which share nothing else, two of which are killed."""

import collections
import gc
import os
import signal
import time

import pytest
import small_runs
import small_studies
import sqlalchemy
from postgresql_server import postgresql_server

from optchain.lab.tuning import storage, working
from optchain.lab.tuning.database_leases import TABLE


def ended(found):
    return sum(trial.ended for trial in found.trials())


def asked(url, statement):
    """The rows that a database answers."""
    with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
        return connection.execute(statement).all()


def holding(found, folder):
    """The trials that the worker of a folder holds."""
    mine = (TABLE.c.folder == storage._identity(folder)) & ~TABLE.c.released
    numbers = [row.trial for row in asked(found.study.search.storage, sqlalchemy.select(TABLE.c.trial).where(mine))]
    running = {trial.number for trial in found.trials() if trial.state == "running"}
    return [number for number in numbers if number in running]


def killed_at_work(found, worker, folder):
    """Kill a worker while it holds a trial; the number of that trial."""
    while True:
        os.kill(worker.pid, signal.SIGSTOP)
        if numbers := holding(found, folder):
            worker.kill()
            worker.communicate()
            return numbers[0]
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(0.02)


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")  # Optuna leaves them to Python
@pytest.mark.services
@pytest.mark.slow
def test_every_point_has_one_result_though_two_of_four_workers_are_killed(tmp_path):
    began = time.monotonic()
    with postgresql_server() as server:
        url = server.url
        search = f'trials = 60\nsampler = "random"\nfresh = 0\nstorage = "{url}"\npatience = 5.0'
        found = small_studies.tuning(tmp_path, search=search)
        found.invite()
        folders = [tmp_path / f"worker{i}" for i in range(4)]
        workers = [small_runs.start("worker", url, "--out", folder) for folder in folders]
        try:
            lost = []
            for i, share in enumerate((10, 25)):
                while ended(found) < share:
                    assert all(worker.poll() is None for worker in workers[i:]), workers[-1].communicate()
                    time.sleep(0.05)
                lost.append(killed_at_work(found, workers[i], folders[i]))
            said = [worker.communicate(timeout=240)[1] for worker in workers[2:]]
            assert [worker.returncode for worker in workers[2:]] == [0, 0], said
        finally:
            for worker in workers:
                worker.kill()
        trials = found.trials()
        assert [trial.number for trial in trials] == list(range(60))
        assert {trial.state for trial in trials} == {"finished"}
        assert len({str(trial.labels) for trial in trials}) == 60
        assert {trial.number for trial in trials if trial.retries} == set(lost) and len(set(lost)) == 2
        states = dict(asked(url, sqlalchemy.text("SELECT state, count(*) FROM trials GROUP BY state")))
        values = asked(url, sqlalchemy.text("SELECT trial_id, count(*) FROM trial_values GROUP BY 1"))
        attempts = asked(url, sqlalchemy.select(TABLE.c.trial, TABLE.c.attempt, TABLE.c.folder))
        assert [count for _, count in values] == [1] * 60
        by = collections.Counter(row.folder for row in attempts)
        shares = [by[storage._identity(folder)] for folder in folders]
        print(f"trials {states}; taken by the four workers {shares}; killed with trials {lost}; ", end="")
        print(f"{len(attempts)} attempts; {time.monotonic() - began:.0f} s")
        assert all(shares) and all(lost[i] in [row.trial for row in attempts if row.attempt == 1] for i in range(2))
        working.search(found, quiet=True)  # the starter finds nothing left to do
        assert found.winner is not None and "finished" in (found.folder / "trials.csv").read_text()
        del found
        gc.collect()


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")  # Optuna leaves them to Python
@pytest.mark.services
def test_a_server_that_is_stopped_ends_its_workers_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with postgresql_server() as server:
        found = small_studies.tuning(tmp_path, search=f'trials = 1000\nfresh = 0\nstorage = "{server.url}"')
        found.invite()
        worker = small_runs.start("worker", server.url)
        try:
            while ended(found) < 2:
                assert worker.poll() is None, worker.communicate()
                time.sleep(0.05)
            server.stop()
            said = worker.communicate(timeout=60)[1]
        finally:
            worker.kill()
        assert worker.returncode == 5, said
        assert "went away" in said.splitlines()[-1] and "Traceback" not in said
        assert server.url not in said  # which has a password
        assert not list((tmp_path / "temporary").glob("optchain-worker-*"))
        del found
        gc.collect()
