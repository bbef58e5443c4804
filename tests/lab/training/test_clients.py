"""Federated learning, beside loops over clients in float64 NumPy: rounds, drop-outs, control variates."""

import jax
import numpy as np
import pytest
from federated_runs import RATE, TOP, Oracle, built, matrix, near, rounds

from optchain import lab
from optchain.lab.commands.main import main
from optchain.lab.data.clients import dealt_by_class, dealt_evenly
from optchain.lab.runs import config, logs
from optchain.lab.training.program import Program


def test_one_local_step_of_all_clients_is_a_step_on_all_data(tmp_path):
    """Clients have 3, 3, 2 and 2 examples; each sees all of its own, some times over, and counts as many."""
    experiment = built(tmp_path, "clients = 4", "round = 4")
    carries, told = rounds(experiment, 3)
    oracle = Oracle(experiment, carries[0])
    assert sorted(oracle.counts) == [2, 2, 3, 3]
    w = matrix(carries[0]["params"])
    for carry in carries[1:]:
        w = w - RATE * oracle.gradient(w, np.arange(10))
        near(matrix(carry["params"]), w)
    size = 12 * 4
    assert [(x["bytes_up"], x["bytes_down"]) for x in told] == [(4 * size, 4 * size)] * 3
    assert carries[-1]["examples"] == 3 * 4 * 6


@pytest.mark.parametrize("mu", [0.0, 0.7], ids=["FedAvg", "FedProx"])
def test_several_local_steps_are_those_of_a_loop_over_clients(tmp_path, mu):
    experiment = built(tmp_path, "clients = 4", "round = 4", "local_steps = 3", f"proximal = {mu}")
    carries, _ = rounds(experiment, 3)
    oracle = Oracle(experiment, carries[0])
    w = matrix(carries[0]["params"])
    for carry in carries[1:]:
        each = [oracle.trained(w, k, 3, mu) for k in range(4)]
        w = sum(n * x for n, x in zip(oracle.counts, each, strict=True)) / 10
        near(matrix(carry["params"]), w)


def test_control_variates_are_those_of_scaffold(tmp_path):
    """Option II, with some of the clients in a round, and some of these that drop out."""
    lines = ("clients = 5", "round = 3", "local_steps = 3", "control = true", "dropout = 0.3")
    mean = '{ use = "client_mean", weighted = false }'
    experiment = built(tmp_path, *lines, batch=2, combine=mean)
    carries, told = rounds(experiment, 8)
    oracle = Oracle(experiment, carries[0])
    w, server, own = matrix(carries[0]["params"]), np.zeros((4, 3)), np.zeros((5, 4, 3))
    taken = []
    for before, carry, log in zip(carries[:-1], carries[1:], told, strict=True):
        changed = matrix(carry["clients"].each["control"]) != matrix(before["clients"].each["control"])
        taken.append(present := np.flatnonzero(changed.any((1, 2))))
        each = [oracle.trained(w, k, 3, drift=server - own[k]) for k in present]
        new = [own[k] - server + (w - x) / (3 * RATE) for k, x in zip(present, each, strict=True)]
        w = np.mean(each, axis=0) if len(present) else w
        server = server + sum(x - own[k] for k, x in zip(present, new, strict=True)) / 5
        own[present] = new if len(present) else own[present]
        near(matrix(carry["params"]), w)
        near(matrix(carry["clients"].each["control"]), own)
        near(matrix(carry["clients"].control), server)
        assert (log["bytes_up"], log["bytes_down"]) == (2 * len(present) * 48, 2 * 3 * 48)
    assert {len(x) for x in taken} >= {2, 3} and len({tuple(x) for x in taken}) > 3


def test_a_deal_has_each_row_once_and_skew_makes_clients_differ():
    targets = np.random.default_rng(0).integers(0, 5, 2000)
    key = jax.random.key(3)
    even = dealt_evenly(key, 2000, 30)
    deals = {skew: dealt_by_class(key, targets, 30, 5, skew) for skew in (0.05, 1000.0)}
    shares = {}
    for deal in (even, *deals.values()):
        np.testing.assert_array_equal(np.sort(deal.rows), np.arange(2000))
        assert deal.counts.sum() == 2000
    assert set(even.counts.tolist()) == {66, 67}
    for skew, deal in deals.items():
        parts = np.split(targets[deal.rows], np.cumsum(deal.counts)[:-1])
        table = np.array([np.bincount(part, minlength=5) for part in parts])
        table = table[table.sum(1) > 0]
        shares[skew] = np.mean(table.max(1) / table.sum(1))
    assert shares[0.05] > 0.8 and shares[1000.0] < 0.3  # of the class that a client has most of, of five
    assert (dealt_by_class(key, targets, 30, 5, 0.05).rows == deals[0.05].rows).all()
    assert (dealt_by_class(jax.random.key(4), targets, 30, 5, 0.05).rows != deals[0.05].rows).any()


def test_each_epoch_of_a_client_is_a_permutation_of_its_examples():
    deal = dealt_by_class(jax.random.key(0), np.arange(40) % 4, 6, 4, 0.3)
    parts = np.split(np.asarray(deal.rows), np.cumsum(deal.counts)[:-1])
    orders = set()
    for client, own in enumerate(parts):
        rows = deal.of(client, jax.random.key(7), 2, 40).reshape(-1)
        assert rows.shape == (80,) and ((rows >= 0) & (rows < 40)).all()
        for i in range(80 // len(own) if len(own) else 0):
            epoch = rows[i * len(own) : (i + 1) * len(own)]
            np.testing.assert_array_equal(np.sort(epoch), np.sort(own))
            orders.add(tuple(epoch.tolist()))
    assert len(orders) > 20


def test_a_run_that_is_resumed_is_the_same_bit_for_bit(tmp_path):
    lines = ("clients = 20", "round = 5", "local_steps = 2", "control = true", "dropout = 0.2", "skew = 0.5", TOP)
    built(tmp_path, *lines, task="examples = 120", sets=["train.evaluate_every=3", "train.checkpoint_every=3"])

    def train(folder, steps, *more):
        sets = ("--set", f"train.steps={steps}", "--set", "train.evaluate_every=3", "--set", "train.checkpoint_every=3")
        assert main(["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / folder), *sets, *more]) == 0
        rows = logs.read(tmp_path / folder / "metrics.jsonl")
        return [row for row in rows if "loss" in row], lab.open(tmp_path / folder).scores

    train("part", 3)
    rows, scores = train("part", 6, "--resume")
    assert (rows, scores) == train("whole", 6) and len(rows) == 6


def test_numbers_of_clients_are_arguments_of_what_is_compiled(tmp_path):
    keys = {"local.lr.learning_rate": 0.1, "proximal": 2.0, "dropout": 0.4, "skew": 3.0}
    lines = ("clients = 20", "round = 5", "local_steps = 2", "proximal = 0.5", "dropout = 0.1", "skew = 0.5", TOP)
    experiment = built(tmp_path, *lines, task="examples = 120")
    program = Program(experiment, tuple(f"gradient.{key}" for key in keys))
    assert program.reads(experiment.config) == {f"gradient.{key}" for key in keys}
    other = config.with_values(experiment.config, {f"gradient.{key}": x for key, x in keys.items()})
    found, _, _ = program.run(other, program.start(other), 3)
    own = Program(experiment.having(other))
    expected, _, _ = own.run(other, own.start(other), 3)
    np.testing.assert_allclose(matrix(found["params"]), matrix(expected["params"]), rtol=1e-6)
