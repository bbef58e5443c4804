import json

import numpy as np

from experiments.logs import Logs, read


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


def test_a_cut_is_as_if_the_run_had_stopped_there(tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "short").mkdir()
    cut, short = filled(tmp_path / "cut"), filled(tmp_path / "short", steps=(0,))
    with cut.jsonl.open("a") as file:
        file.write(json.dumps({"step": 9, "loss": 1.0}) + "\n" + '{"step": 10, "lo')
    cut.cut(4)
    assert cut.jsonl.read_text() == short.jsonl.read_text() and cut.csv.read_text() == short.csv.read_text()
    assert cut.csv.read_text() == "step,validation_loss\n4,0.0\n"
