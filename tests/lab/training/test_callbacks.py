"""Functions of the user's that see each evaluation."""

import json

import chex
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.run import Run

CODE = """
import json

def note(row, folder, to="seen"):
    with open(folder / f"{to}.jsonl", "a") as file:
        file.write(json.dumps(row["step"]) + "\\n")
    row.clear()

def stop(row, folder, at=40):
    return "stop" if row["step"] == at else None

def wrong(row, folder):
    return "stpo"

def broken(row, folder):
    raise KeyError("no such thing")
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    return small_runs.small(tmp_path)


def sets(tmp_path, name, **more):
    pairs = {"use": f"{tmp_path / 'own.py'}:{name}", **more}
    return f"callbacks.{name}={{{', '.join(f'{key}={json.dumps(x)}' for key, x in pairs.items())}}}"


def test_what_is_observed_stays_as_it_is(tmp_path, file):
    plain = small_runs.train(tmp_path, folder="plain")
    seen = small_runs.train(tmp_path, sets(tmp_path, "note", to="rows"), folder="seen")
    chex.assert_trees_all_equal(plain.carry, seen.carry)
    assert (seen.run.folder / "rows.jsonl").read_text().split() == ["20", "40", "60"]
    assert "callbacks" in json.loads((seen.run.folder / "config.json").read_text())


@pytest.mark.full
def test_a_callback_stops_a_run_that_may_continue(tmp_path, file, capsys):
    folder, stops = tmp_path / "run", sets(tmp_path, "stop")
    arguments = ["train", str(file), "--out", str(folder)]
    assert main([*arguments, "--set", stops]) == 0
    assert Run(folder).result["ending"] == "stopped by hand" and Run(folder).result["step"] == 40
    assert main([*arguments, "--resume"]) == 0  # without it, which is no other configuration
    assert Run(folder).result["ending"] == "finished" and Run(folder).result["step"] == 60


@pytest.mark.full
def test_one_that_fails_ends_the_run_after_saving(tmp_path, file, capsys):
    folder = tmp_path / "run"
    arguments = ["train", str(file), "--out", str(folder), "--set", "train.checkpoint_every=60"]
    assert main([*arguments, "--set", sets(tmp_path, "broken")]) == 2
    said = capsys.readouterr().err
    assert (
        f"callbacks.broken: {tmp_path / 'own.py'}:broken: own.py, line 16: KeyError: 'no such thing' (step 20 is saved"
        in said
    )
    assert small_runs.saved(folder) == [20] and Run(folder).result is None
    assert main([*arguments, "--set", sets(tmp_path, "wrong"), "--resume"]) == 2
    assert "own.py:wrong answered 'stpo'; expected None or 'stop'" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0 and Run(folder).result["step"] == 60


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "callbacks.a={use='own.py:stpo'}",
            "callbacks.a.use: got 'own.py:stpo'; own.py has no 'stpo', did you mean",
        ),
        ("callbacks.a={use='own.py:stop', att=3}", "callbacks.a.att: unknown key; did you mean 'at'"),
        ("callbacks.a={use='stop'}", "callbacks.a.use: got 'stop'"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, file, text, message):
    with pytest.raises(InputError, match=message):
        config.load(file, [text])
