"""Studies whose trials are tasks of Ray, on clusters of this machine."""

import json
import os
import signal
import threading
import time

import psutil
import pytest
import small_runs
import small_studies
from optuna.trial import TrialState
from ray_nodes import ray_nodes, require_ray

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.runs import config
from optchain.lab.runs.logs import read
from optchain.lab.tuning import on_ray, storage, working
from optchain.lab.tuning.tune import Tuning

pytestmark = [pytest.mark.services, pytest.mark.slow]

OWN = """
import time


def rest(row, folder, seconds: float):
    time.sleep(seconds)


def fail(row, folder):
    raise ValueError("no good")


def end(row, folder):
    import os, signal

    os.kill(os.getpid(), signal.SIGKILL)
"""

RANDOM = 'sampler = "random"\nfresh = 0\nparallel = "ray"\n'


@pytest.fixture(scope="module")
def nodes():
    with ray_nodes(2) as lose:
        yield lose


def begun(folder, search, callback='{ use = "own.py:rest", seconds = 0.01 }', name="out", steps=20):
    """A study whose trials call something of the user's at each evaluation."""
    (folder / "own.py").write_text(OWN)
    path = small_studies.written(folder, search=RANDOM + search)
    path.write_text(
        path.read_text().replace("steps = 20", f"steps = {steps}", 1) + f"\n[callbacks]\nmine = {callback}\n"
    )
    found = Tuning(config.load(path, table=small_studies.Study), folder / name, "study.toml", "tune study.toml")
    found.require_valid()
    found.prepare(overwrite=False)
    return found


def results(found):
    """How often the journal says of each trial that it has ended."""
    lines = [line for line in small_studies.journal(found.folder) if line.get("state") in (1, 2, 3)]
    return sorted(line["trial_id"] for line in lines)


def ended(found):
    return sum(trial.ended for trial in Tuning(found.study, found.folder, "study.toml", "").trials())


def own(process):
    """The processes of a command, with those of its cluster."""
    return psutil.Process(process.pid).children(recursive=True)


def reported(found):
    """How many evaluations the trials in progress have told, as a list that is not empty."""
    running = storage.seen(found.study, found.folder).get_trials(states=(TrialState.RUNNING,))
    return [len(trial.intermediate_values) for trial in running] or [0]


def test_no_cluster_outlives_its_command(tmp_path, monkeypatch):
    """Before the others, which begin a cluster that the command would join."""
    require_ray()
    for name, x in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}.items():
        monkeypatch.setenv(name, x)
    found = begun(tmp_path, "trials = 100_000", '{ use = "own.py:rest", seconds = 0.1 }')
    command = ["tune", tmp_path / "study.toml", "--out", found.folder]
    for kill in (signal.SIGKILL, signal.SIGINT):
        count, process = ended(found), small_runs.start(*command)
        while ended(found) < count + 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        theirs = own(process)
        assert {"raylet", "gcs_server"} <= {one.name() for one in theirs}
        process.send_signal(kill)
        _, said = process.communicate(timeout=90)
        _, alive = psutil.wait_procs(theirs, timeout=30)
        assert not alive
    assert process.returncode == 130 and "stopped; " in said
    assert "ray" not in said.lower().replace(str(tmp_path).lower(), "")
    count = len(found.trials())
    assert small_runs.run(*command, "--set", f"search.trials={count}").returncode == 0
    assert results(found) == list(range(count))
    assert not [trial for trial in found.trials() if trial.state != "finished"]


def test_every_point_has_one_result_though_a_node_is_lost(tmp_path, nodes):
    search = 'trials = 60\npruner = { use = "median", trials = 4, steps = 100 }'
    found = begun(tmp_path, search, '{ use = "own.py:rest", seconds = 0.04 }', steps=300)
    began = time.monotonic()

    def lose():
        while ended(found) < 12 or not all(1 <= count <= 3 for count in reported(found)):
            time.sleep(0.02)
        nodes()  # which has just begun with a trial

    losing = threading.Thread(target=lose)
    losing.start()
    working.search(found, quiet=True)
    losing.join()
    trials = found.trials()
    states = [trial.state for trial in trials]
    retried = [trial.number for trial in trials if trial.retries]
    print(f"{ {x: states.count(x) for x in set(states)} }; retried {retried}; {time.monotonic() - began:.0f} s")
    assert [trial.number for trial in trials] == list(range(60)) and results(found) == list(range(60))
    assert set(states) == {"finished", "pruned"} and len(retried) == 1
    assert len({str(trial.labels) for trial in trials}) == 60
    for trial in trials:
        steps = [row["step"] for row in trial.evaluations[0]]
        assert steps == list(range(10, trial.steps + 1, 10))
    working.search(found, quiet=True)  # nothing is left to do
    assert results(found) == list(range(60))


def test_what_a_trial_needs_travels_and_its_files_come_back(tmp_path, nodes, monkeypatch):
    near = begun(tmp_path, "trials = 3\nkeep = 1", name="near")
    working.search(near, quiet=True)
    monkeypatch.setattr(on_ray, "SEAL", "other")  # so that no task knows the folder of the study
    far = begun(tmp_path, "trials = 3\nkeep = 1", name="far")
    working.search(far, quiet=True)
    files = [
        {path.name for path in one.folder.glob("trials/0000/*/*") if "lock" not in path.name} for one in (near, far)
    ]
    assert files[0] == files[1] and {"config.json", "metrics.jsonl", "result.json"} <= files[0]
    (run,) = far.folder.glob("trials/0000/*/run.json")
    named = {entry["key"]: entry["use"] for entry in json.loads(run.read_text())["objects"]}
    assert named["callbacks.mine"] == "../../../../own.py:rest"  # where it is at home, wherever the trial ran
    facts = [[(t.labels, t.state, t.steps, t.score, t.retries) for t in one.trials()] for one in (near, far)]
    assert facts[0] == facts[1]
    kept = [sorted(path.parts[-3] for path in one.folder.glob("trials/*/*/checkpoints")) for one in (near, far)]
    assert kept[0] == kept[1] and len(kept[0]) == 1
    rows = [[row["validation_loss"] for row in trial.evaluations[0]] for trial in far.trials()]
    assert rows == [[row["validation_loss"] for row in trial.evaluations[0]] for trial in near.trials()]


def test_what_does_not_fit_the_cluster_is_an_error(tmp_path, nodes):
    with pytest.raises(
        InputError, match=r"each = { cpus = 8, gpus = 0 }: no node of the cluster has as many; its .* 1 CP"
    ):
        working.search(begun(tmp_path, "trials = 2\neach = { cpus = 8 }"), quiet=True)


@pytest.mark.parametrize(
    ("callback", "message"),
    [("fail", "callbacks.mine: .*no good"), ("end", "trial 0: 3 workers died while they ran it")],
)
def test_a_trial_that_fails_ends_the_study(tmp_path, nodes, callback, message):
    found = begun(tmp_path, "trials = 1", f'{{ use = "own.py:{callback}" }}')
    with pytest.raises(InputError, match=message):
        working.search(found, quiet=True)
    assert [trial.state for trial in found.trials()] == ["running"]


@pytest.mark.parametrize("is_near", [True, False])
def test_an_interrupted_study_goes_on_from_what_was_saved(tmp_path, nodes, monkeypatch, is_near):
    if not is_near:
        monkeypatch.setattr(on_ray, "SEAL", "other")
    slow = '{ use = "own.py:rest", seconds = 0.1 }'
    found = begun(tmp_path, "trials = 1", slow, steps=400)

    def interrupt():
        while reported(found) == [0]:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted):
        working.search(found, quiet=True)
    (run,) = (found.folder / "trials" / "0000").glob("seed=*")
    (step,), before = small_runs.saved(run), read(run / "metrics.jsonl")
    assert 0 < step < 400 and before[-1]["step"] == step
    again = begun(tmp_path, "trials = 1", slow, steps=400)
    working.search(again, quiet=True)
    (trial,) = again.trials()
    assert (trial.state, trial.retries, trial.steps) == ("finished", 1, 400) and results(again) == [0]
    assert read(run / "metrics.jsonl")[: len(before)] == before  # to the seconds: nothing was made again
