"""Thousands of clients, of which few are in a round: compiled once, and memory that grows with the round alone."""

import jax
import numpy as np
import pytest
from federated_runs import TOP, built

from optchain.lab.training import clients
from optchain.lab.training.program import Program

MANY = ["task.use='task.py:many'", "model.use='network'", "model.hidden=[64]"]
KEPT = {"nothing": (), "variates and what compression left": ("control = true", TOP)}


def made(folder, number, size, *gradient):
    lines = (f"clients = {number}", f"round = {size}", "local_steps = 3", "skew = 5.0", *gradient)
    return built(folder, *lines, sets=MANY)


def memory(experiment):
    program = Program(experiment)
    return program.memory(experiment.config, experiment.start(), 5)


@pytest.mark.parametrize("kept", KEPT)
def test_memory_grows_with_the_clients_of_a_round(tmp_path, kept):
    few, many, larger = (memory(made(tmp_path, *n, *KEPT[kept])) for n in ((200, 20), (2000, 20), (2000, 80)))
    params = sum(4 * x.size for x in jax.tree.leaves(made(tmp_path, 200, 20).shapes["params"]))
    more = many.temp_size_in_bytes - few.temp_size_in_bytes
    assert more < 50 * 1800  # a few numbers for each client, and nothing like the parameters
    assert larger.temp_size_in_bytes - many.temp_size_in_bytes > 60 * params > 5 * more
    # What is carried is changed where it lies.
    assert many.alias_size_in_bytes > (1800 * params if KEPT[kept] else 0)
    assert many.output_size_in_bytes < 1.1 * many.alias_size_in_bytes + 2**12


def test_two_thousand_clients_train_in_one_compilation(tmp_path, monkeypatch):
    traced, call = [], clients.Round.__call__
    monkeypatch.setattr(clients.Round, "__call__", lambda *args: traced.append(1) or call(*args))
    experiment = made(tmp_path, 2000, 20, "control = true", TOP)
    program, carry, losses, seen = Program(experiment), experiment.start(), [], set()
    counts = np.asarray(carry["clients"].deal.counts)
    assert len(counts) == 2000 and counts.sum() == 4000 and 0 < (counts == 0).sum() < 1000
    for _ in range(4):
        before = np.asarray(carry["clients"].each["compress"]["step"])
        carry, log, _ = program.run(experiment.config, carry, 25)
        losses += log["loss"].tolist()
        seen |= {*np.flatnonzero(np.asarray(carry["clients"].each["compress"]["step"]) != before).tolist()}
    assert len(traced) == 1 and len(program._compiled) == 1
    assert 800 < len(seen) <= 2000 and not {*seen} & {*np.flatnonzero(counts == 0).tolist()}
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
