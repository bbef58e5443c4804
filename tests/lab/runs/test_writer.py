"""A folder has one writer at a time."""

import os
import platform
import subprocess
import sys

import pytest
import small_runs
import small_studies

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import run
from optchain.lab.runs.writer import remove, sole_writer
from optchain.lab.tuning import working


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def holder(tmp_path):
    """A process that writes to `tmp_path / "run"` until it is killed."""
    code = "from optchain.lab.runs.writer import *\n"
    code += "with sole_writer(Path(os.sys.argv[1])): print(1, flush=True), input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        cwd=small_runs.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"1\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_in_which_a_run_is_alive_is_refused_and_says_who(tmp_path, capsys, holder):
    path, folder = small_runs.small(tmp_path), tmp_path / "run"
    resolved = small_runs.config.load(path)
    run.create(folder, resolved, "the command", overwrite=False)
    before = contents(folder)
    who = f"process {holder.pid} on {platform.node()} has written to it since 2"
    for way in ("--resume", "--overwrite"):
        assert main(["train", str(path), "--out", str(folder), way]) == 2
        said = capsys.readouterr().err
        assert f"{folder} is in use: {who}" in said and "choose another --out" in said
    assert contents(folder) == before
    holder.kill()
    holder.wait()
    with sole_writer(folder):  # a killed process holds nothing
        assert f'"pid": {os.getpid()}' in (folder / "writer.json").read_text()
    assert not (folder / "writer.json").exists()
    assert run.create(folder, resolved, "the command", overwrite=True).about["command"] == "the command"


def test_what_holds_no_run_gets_no_lock(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    for folder, way in ((tmp_path / "other", "--overwrite"), (tmp_path / "none", "--resume")):
        assert main(["train", str(small_runs.small(tmp_path)), "--out", str(folder), way]) == 2
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"] and not (tmp_path / "none").exists()


def test_a_study_is_not_removed_while_one_of_its_runs_is_alive(tmp_path, capsys):
    found = small_studies.tuning(tmp_path)
    command = ["tune", str(tmp_path / "study.toml"), "--out", str(found.folder), "--overwrite"]
    with found.claims.next() as claim, sole_writer(claim.folder / "seed=1"):
        before = contents(found.folder)
        assert main(command) == 2
        assert f"process {os.getpid()} on {platform.node()}" in capsys.readouterr().err
        with found.claims.next(), pytest.raises(InputError, match="is in use"):
            remove(found.folder)
    assert {path for path in before if path.name != "writer.json"} <= set(contents(found.folder))
    remove(found.folder)
    assert not found.folder.exists()


def test_trials_hold_the_folders_of_their_runs(tmp_path, capsys):
    """Whoever trains in the folder of a trial that a study is running is refused."""
    found = small_studies.tuning(tmp_path, search='trials = 1\nsampler = "random"\nfresh = 0')
    with found.claims.next() as claim:
        (resolved,) = claim.configs()
    with sole_writer(claim.folder / f"seed={resolved.train.seed}"), pytest.raises(InputError, match="is in use"):
        working.search(found)
    working.search(found)
    assert [trial.state for trial in found.trials()] == ["finished"]
