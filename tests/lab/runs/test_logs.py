import json
import math
import os
import platform
from pathlib import Path

import numpy as np
import pytest

from optchain.lab.base.files import write_whole
from optchain.lab.base.intervals import scored
from optchain.lab.runs.logs import Logs, read
from optchain.lab.training.progress import shown


def filled(folder, steps=(0, 4)):
    logs = Logs(folder, log_every=2)
    for before in steps:
        losses = np.arange(before, before + 4, dtype=np.float32) / 3
        logs.steps(before, {"loss": losses, "optimizer": {"clip.norm": np.full(4, np.inf)}})
        logs.evaluation({"step": before + 4, "validation_loss": before / 3})
    return logs


def test_floats_survive_bit_for_bit(tmp_path):
    rows = read(filled(tmp_path).jsonl)
    losses = np.array([row["loss"] for row in rows if "loss" in row], np.float32)
    np.testing.assert_array_equal(losses, np.arange(8, dtype=np.float32) / 3)


def test_what_is_not_finite_is_null_and_the_file_stays_json(tmp_path):
    logs = filled(tmp_path)
    assert "Infinity" not in logs.jsonl.read_text() and "NaN" not in logs.jsonl.read_text()
    assert [row["optimizer"] for row in read(logs.jsonl) if "optimizer" in row] == [{"clip.norm": None}] * 4


def test_the_table_begins_with_the_step_and_keeps_the_order_of_the_row(tmp_path):
    logs = Logs(tmp_path, log_every=2)
    logs.evaluation({"step": 4, "batch_loss": 0.5, "accuracy": math.inf})
    assert logs.csv.read_text() == "step,batch_loss,accuracy\n4,0.5,\n"
    assert logs.jsonl.read_text() == '{"step": 4, "evaluation": {"step": 4, "batch_loss": 0.5, "accuracy": null}}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    logs = Logs(tmp_path, log_every=2)
    for file in (logs.jsonl, logs.csv):
        file.unlink(missing_ok=True)
        file.symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"No space left on device: '{file}'"):
            logs.evaluation({"step": 4})
        file.unlink()
    part = tmp_path / f"run.json.{platform.node()}.{os.getpid()}.part"
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'run.json'}'"):
        write_whole(tmp_path / "run.json", "{}")


def test_a_loss_of_minus_zero_is_shown_as_zero():
    assert [scored(1.5e18), scored(-1234567.0), scored(999999.0)] == ["1.5e+18", "-1.23457e+06", "999999.0000"]
    assert [scored(-0.0), scored(-1e-6, 1.0), shown(-0.0), scored(-0.5)] == ["0.0000", "0.0000", "0", "-0.5000"]


def test_a_cut_is_as_if_the_run_had_stopped_there(tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "short").mkdir()
    cut, short = filled(tmp_path / "cut"), filled(tmp_path / "short", steps=(0,))
    with cut.jsonl.open("a") as file:
        file.write(json.dumps({"step": 9, "loss": 1.0}) + "\n" + '{"step": 10, "lo')
    cut.cut(4)
    assert cut.jsonl.read_text() == short.jsonl.read_text() and cut.csv.read_text() == short.csv.read_text()
    assert cut.csv.read_text() == "step,validation_loss\n4,0.0\n"
