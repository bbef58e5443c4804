"""Workers that join a study, by its folder or by its database."""

import dataclasses
import os
import signal
import time

import numpy as np
import optuna
import pytest
import small_runs
import small_studies
import sqlalchemy

from optchain import lab
from optchain.lab.base.signals import Interrupted
from optchain.lab.commands.main import main
from optchain.lab.training.progress import Quiet
from optchain.lab.tuning import joining, one_by_one, working
from optchain.lab.tuning.parcel import PARCEL
from optchain.lab.tuning.tune import reopened

RANDOM = 'sampler = "random"\nfresh = 0\n'


def in_database(folder, trials=4, **texts):
    """A small study in a database, which workers may join."""
    search = f'{RANDOM}trials = {trials}\nstorage = "sqlite:///{folder / "studies.db"}"'
    found = small_studies.tuning(folder, search=search, **texts)
    found.invite()
    return found


def facts(found):
    return [(t.number, t.labels, t.state, t.steps, t.score) for t in found.trials()]


def test_a_worker_with_the_database_alone_makes_what_the_starter_makes(tmp_path, capsys):
    found, url = in_database(tmp_path), f"sqlite:///{tmp_path / 'studies.db'}"
    with found.claims.next() as claim:  # the starter runs one, and then only looks
        one_by_one.perform(claim, found.programs, found.command)
    assert main(["worker", url, "--out", str(tmp_path / "mine")]) == 0
    assert "4/4" in capsys.readouterr().err
    plain = small_studies.searched(tmp_path, "plain", search=f"{RANDOM}trials = 4")
    assert facts(found) == facts(plain)
    there = found.trials()[3]
    assert not list(there.folder.glob("*/metrics.jsonl"))
    losses = [[row["validation_loss"] for row in one.evaluations[0]] for one in (there, plain.trials()[3])]
    assert losses[0] == losses[1] and len(losses[0]) == 2
    found.finish()
    small_studies.write(found)
    assert (found.folder / "best.toml").is_file() and found.trials()[3].retries == 0
    # It has been searched: nobody is invited any more.
    assert main(["worker", url]) == 2
    assert "no study is being searched; the database has out-" in capsys.readouterr().err


def test_a_folder_is_joined_and_left_at_any_moment(tmp_path, monkeypatch, capsys):
    found = small_studies.tuning(tmp_path, search=f"{RANDOM}trials = 2")
    perform = one_by_one.perform

    def stopped(claim, programs, command):
        perform(claim, programs, command) if claim.number else None
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(one_by_one, "perform", stopped)
    assert main(["worker", str(found.folder)]) == 130
    assert "left; another worker takes the trial over" in capsys.readouterr().err
    assert [trial.state for trial in found.trials()] == ["running"]
    monkeypatch.setattr(one_by_one, "perform", perform)
    assert main(["worker", str(found.folder)]) == 0
    assert [(trial.state, trial.retries) for trial in found.trials()] == [("finished", 1), ("finished", 0)]
    assert ",retries," in (found.folder / "trials.csv").read_text()


@pytest.fixture
def joined(tmp_path, monkeypatch):
    """A study in a database, and the folder in which workers make their temporary ones."""
    in_database(tmp_path, trials=2)
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(own))
    return f"sqlite:///{tmp_path / 'studies.db'}", own


def test_a_signal_between_trials_leaves_no_folder(joined, monkeypatch, capsys):
    url, folder = joined
    perform = one_by_one.perform

    def stopped(claim, programs, command):
        perform(claim, programs, command)
        assert list(folder.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(one_by_one, "perform", stopped)
    assert main(["worker", url]) == 143 and "left;" in capsys.readouterr().err
    assert not list(folder.iterdir()) and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_database_that_goes_away_is_one_line_and_leaves_no_folder(joined, monkeypatch, capsys, wrapped):
    """As Optuna says it, and as the leases do."""
    url, folder = joined
    gone = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection\nunexpectedly"))

    def lost(claim, programs, command):
        if wrapped:
            raise optuna.exceptions.StorageInternalError("an exception is raised during the commit") from gone
        raise gone

    monkeypatch.setattr(one_by_one, "perform", lost)
    assert main(["worker", url]) == 5
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"the database of the study, {url}, went away (") and "server closed the connection)" in said
    assert "start this command again" in said and not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/ou"], "ou is not the folder of a study; did you mean '{folder}/out'"),
        (["{folder}/out", "--trust"], "--study, --out and --trust are for the URL of a database"),
        (["{url}", "--study", "uot"], "--study uot: the database has no such study; "),
        (["{url}", "--out", "{folder}"], "is not empty; expected a folder for this worker alone"),
        (["{url}", "--study", "foreign"], "foreign is no study that a worker can join"),
        (["{url}"], "several studies are being searched; expected --study with one of "),
        (["nonsense://x"], "'nonsense://x': Can't load plugin"),
    ],
)
def test_what_cannot_be_joined_is_an_error(tmp_path, capsys, arguments, message):
    in_database(tmp_path)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    another = optuna.create_study(storage=url, study_name="another")
    another.set_user_attr(PARCEL, {})
    optuna.create_study(storage=url, study_name="foreign")
    assert main(["worker", *(text.format(folder=tmp_path, url=url) for text in arguments)]) == 2
    assert message.format(folder=tmp_path) in capsys.readouterr().err


@pytest.mark.full
def test_pickles_need_trust(tmp_path, capsys):
    """What `lab.tune` was given as it stands has no file."""
    import flax.linen as nn

    draw, url = np.random.default_rng(0), f"sqlite:///{tmp_path / 'studies.db'}"
    x = draw.normal(size=(60, 2)).astype(np.float32)
    study = lab.tune(
        task=lab.Arrays(x, x[:, 0], validation=0.5),
        model=lambda width: nn.Dense(1),
        optimizer=lambda rate: __import__("optchain").sgd(rate),
        space={"optimizer.rate": lab.log(1e-3, 1e-1), "model.width": lab.choice([1])},
        **{"steps": 2, "batch": 8, "trials": 1, "fresh": 0, "sampler": "random", "quiet": True},
        storage=url,
        out=tmp_path / "mine",
    )
    (name,) = optuna.get_all_study_names(url)
    assert main(["worker", url, "--study", name]) == 2
    assert "as pickles: " in capsys.readouterr().err
    theirs = joining.by_database(url, name, tmp_path / "theirs", trusts=True)
    theirs = dataclasses.replace(
        theirs, study=theirs.study.model_copy(update={"search": theirs.study.search.model_copy(update={"trials": 2})})
    )
    working.search(theirs, quiet=True)
    assert [trial.state for trial in theirs.trials()] == ["finished"] * 2 and len(study.trials) == 2


def test_a_worker_that_was_thought_dead_changes_nothing(tmp_path):
    found = in_database(tmp_path, trials=1)
    mine = found.claims
    with mine.next() as slow:
        other = reopened(found.folder)
        again = other.claims.optuna_study.get_trials()[0]
        other.claims.leases = mine.leases.__class__(lambda number: tmp_path / "elsewhere" / str(number))
        with other.claims.next() as claim:
            assert claim.number == again.number
            one_by_one.perform(claim, small_studies.PROGRAMS, "")
        told = facts(found)
        assert slow.evaluated(slow.configs()[0], {"step": 10, "validation_loss": 0.0})  # it is to end
        assert slow.ended({"ending": "diverged", "step": 10, "seconds": {"compiling": 0.0, "training": 0.0}})
        slow.infeasible("it is not")
    assert facts(found) == told and told[0][2] == "finished"


@pytest.mark.full
def test_a_trial_whose_worker_has_left_the_folder_resumes_from_its_checkpoint(tmp_path, monkeypatch):
    path = small_studies.written(tmp_path, search=f"{RANDOM}trials = 1")
    path.write_text(path.read_text().replace("steps = 20", "steps = 100_000").replace("every = 20", "every = 10"))
    found = small_studies.Tuning(small_studies.config.load(path, table=small_studies.Study), tmp_path / "out", "x", "")
    found.prepare(overwrite=False)
    worker = small_runs.start("worker", str(tmp_path / "out"))
    deadline = time.monotonic() + 120
    while not any(log.stat().st_size for log in tmp_path.glob("out/trials/*/*/metrics.jsonl")):
        assert time.monotonic() < deadline and worker.poll() is None, worker.communicate()[1]
        time.sleep(0.1)
    worker.send_signal(signal.SIGTERM)  # it saves what it has made, as it would now and then
    said = worker.communicate(timeout=60)[1]
    assert worker.returncode == 143, said
    (run,) = tmp_path.glob("out/trials/*/seed=*")
    (step,) = small_runs.saved(run)
    steps = []

    def show(self, row):
        steps.append(row["step"])
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Quiet, "show", show)
    with pytest.raises(Interrupted):
        working.search(found, quiet=True)
    assert steps == [step + 10] and found.trials()[0].retries == 1
