"""What the time of a run was spent on."""

import json
import time

import jax
import pytest
import small_runs

from optchain.lab.runs.logs import evaluations, read
from optchain.lab.training import seconds


def test_compiling_is_apart_from_what_needed_it():
    took, fresh = seconds.none_yet(), jax.jit(lambda x: jax.numpy.sort(x) + time.time_ns() % 10**6)
    before = time.perf_counter()
    with seconds.spent(took, "evaluating"):
        fresh(jax.numpy.arange(7.0)).block_until_ready()
        time.sleep(0.05)
    whole = time.perf_counter() - before
    assert took["compiling"] > 0 and took["evaluating"] >= 0.05 and took["training"] == took["saving"] == 0
    assert took["compiling"] + took["evaluating"] <= whole
    with seconds.spent(took, "saving"), pytest.raises(ValueError):
        raise ValueError


def test_sums_and_words():
    parts = [{"compiling": 1.0, "training": 3.0}, {"compiling": 2.0, "evaluating": 0.5, "training": 0.01}]
    sums = seconds.total(parts)
    assert sums == {"compiling": 3.0, "training": 3.01, "evaluating": 0.5, "saving": 0.0}
    assert seconds.in_words(sums) == "compiling 3.0 s, training 3.0 s, evaluating 0.5 s"
    assert seconds.in_words(seconds.none_yet()) == "less than 0.1 s"
    assert seconds.bound(sums) == "training takes most of the time: 46 % of 6.5 s" and not seconds.bound({})


def test_a_run_says_what_its_time_was_spent_on(tmp_path):
    folder = small_runs.train(tmp_path, "train.steps=20", "train.evaluate_every=10").run.folder
    result = json.loads((folder / "result.json").read_text())
    assert list(result["seconds"]) == list(seconds.NAMES) and all(x > 0 for x in result["seconds"].values())
    first, last = map(seconds.of_row, evaluations(read(folder / "metrics.jsonl")))
    for name in seconds.NAMES:
        assert first[name] <= last[name] <= result["seconds"][name]
    assert "evaluating_seconds" in (folder / "metrics.csv").read_text()
