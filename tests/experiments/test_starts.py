"""Trials that are saved by a good beginning are counted as they should be."""

import math
from types import SimpleNamespace

import pytest

from experiments.benchmarks.starts import SPACE, TASKS, WAYS, best_so_far, run, until


def test_the_best_so_far():
    rows = [{"trial": i, "score": x} for i, x in enumerate([3.0, math.nan, 1.0, 2.0])]
    assert best_so_far(SimpleNamespace(trials=rows[::-1])) == [3.0, 3.0, 1.0, 1.0]
    assert [until([3.0, 3.0, 1.0, 1.0], x) for x in (3.0, 1.0, 0.5)] == [1, 3, 5]


@pytest.mark.slow
def test_all_ways_are_tried(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from small_runs import ROOT

    monkeypatch.setattr(
        "experiments.benchmarks.starts.TASKS",
        {name: {**task, "use": f"{ROOT}/{task['use']}"} for name, task in TASKS.items()},
    )
    run(["circles", "wine"], seeds=2, trials=2, steps=20, out=tmp_path / "starts.jsonl")
    said = capsys.readouterr().out
    assert all(said.count(way) >= 2 for way in WAYS)
    assert len((tmp_path / "starts.jsonl").read_text().splitlines()) == 6
    assert set(SPACE) == {
        "optimizer.lr.learning_rate.peak",
        "optimizer.decay.weight_decay",
        "optimizer.clip.max_norm",
    }
