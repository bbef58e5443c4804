"""What clients hand in compressed: by each of them, with what it has left of its own, and with its bytes counted."""

import jax
import numpy as np
import pytest
from federated_runs import Oracle, built, matrix, near, rounds

from optchain.lab.training.compressed import compressor

NETWORK = ["model.use='network'", "model.hidden=[32]"]
SENDS = {
    "top_k_mean": "density = 0.05",
    "random_k_mean": "density = 0.05",
    "demo_mean": "density = 0.05",
    "sign_mean": "",
    "qsgd_mean": "bits = 4",
    "powersgd_mean": "rank = 1",
    "low_bit_mean": "bits = 8",
}


def compress(name, numbers=None):
    numbers = SENDS[name] if numbers is None else numbers
    return f"compress = {{ send = {{ use = '{name}'{', ' * bool(numbers)}{numbers} }} }}"


def handed_in(carries):
    """What the server has stepped by, from round to round, in float64."""
    params = [jax.tree.map(lambda x: np.asarray(x, np.float64), carry["params"]) for carry in carries]
    return [jax.tree.map(np.subtract, a, b) for a, b in zip(params[:-1], params[1:], strict=True)]


def test_each_client_feeds_back_what_it_has_left(tmp_path):
    """Top-k with error feedback beside a loop over clients, some of which drop out and keep what they had."""
    lines = ("clients = 5", "round = 3", "local_steps = 2", "dropout = 0.3", compress("top_k_mean", "density = 0.3"))
    carries, told = rounds(built(tmp_path, *lines, batch=2, combine="{ use = 'client_mean', weighted = false }"), 8)
    experiment = built(tmp_path, *lines, batch=2)
    oracle, w, left = Oracle(experiment, carries[0]), matrix(carries[0]["params"]), np.zeros((5, 4, 3))

    def largest(x):
        """Three of the nine entries of the kernel and one of the three of the bias."""
        kept = np.zeros_like(x)
        for part, k in ((np.s_[:3], 3), (np.s_[3:], 1)):
            places = np.argsort(-np.abs(x[part]), axis=None)[:k]
            kept[part].reshape(-1)[places] = x[part].reshape(-1)[places]
        return kept

    taken = []
    for before, carry, log in zip(carries[:-1], carries[1:], told, strict=True):
        counts = [c["clients"].each["compress"]["step"] for c in (before, carry)]
        taken.append(present := np.flatnonzero(counts[0] != counts[1]))
        sent = np.zeros((5, 4, 3))
        for k in present:
            x = w - oracle.trained(w, k, 2) + left[k]
            sent[k] = largest(x)
            left[k] = x - sent[k]
        w = w - (sent[present].mean(0) if len(present) else 0)
        near(matrix(carry["params"]), w)
        near(matrix(carry["clients"].each["compress"]["links"]["send"]["top_k_mean"]["residual"]), left)
        assert log["bytes_up"] == len(present) * 4 * (4 + 4)
    assert {len(x) for x in taken} >= {2, 3} and any(left.any((1, 2)))


@pytest.mark.parametrize("name", SENDS)
def test_the_bytes_fall_and_the_loss_too(tmp_path, name):
    lines = ("clients = 20", "round = 10", "local_steps = 5", "skew = 0.5")
    more = {"task": "examples = 120", "sets": NETWORK, "steps": 20}
    experiment = built(tmp_path, *lines, compress(name), **more)
    carries, told = rounds(experiment, 20)
    message = compressor(experiment.config.gradient).link.links[-1][1].link.message(carries[0]["params"])
    present = [x["bytes_up"] / message for x in told]
    assert all(n == round(n) and 5 <= n <= 10 for n in present)
    whole = sum(x.nbytes for x in jax.tree.leaves(carries[0]["params"]))
    assert message < whole / (8 if "density" in SENDS[name] and name != "demo_mean" else 2)
    assert told[0]["bytes_down"] == 10 * whole
    assert np.mean([x["loss"] for x in told[-3:]]) < 0.8 * told[0]["loss"]


def test_what_reaches_the_server_is_what_the_bytes_can_hold(tmp_path):
    """Of one client in a round: so many entries, one size in each leaf, or so many levels."""
    lines = ("clients = 20", "round = 1", "local_steps = 5")
    more = {"task": "examples = 120", "sets": NETWORK}
    sizes = [3, 32, 32 * 3, 3 * 32]

    def leaves(*sends):
        return [
            x
            for tree in handed_in(rounds(built(tmp_path, *lines, *sends, **more), 4)[0])
            for x in jax.tree.leaves(tree)
        ]

    assert sorted(x.size for x in leaves()) == sorted(4 * sizes)
    assert all((x != 0).mean() > 0.5 for x in leaves() if x.size == 96)
    for send in (compress("top_k_mean"), compress("random_k_mean")):
        for noise in ((), ("byzantine = { clients = 20, attack = 'noise' }",)):
            counts = [((x != 0).sum(), max(1, round(0.05 * x.size))) for x in leaves(send, *noise)]
            assert all(0 <= found <= k for found, k in counts)
            assert sum(found for found, _ in counts) > 0.6 * sum(k for _, k in counts)  # random ones may be 0
    for x in leaves(compress("sign_mean")):
        size = np.abs(x).max()
        np.testing.assert_allclose(np.abs(x), size, rtol=1e-4, atol=1e-6)
    for x in leaves(compress("qsgd_mean")):
        levels = x / np.abs(x).max() * 7
        np.testing.assert_allclose(levels, levels.round(), rtol=0, atol=2e-3)


def test_clients_draw_random_bits_of_their_own(tmp_path):
    """Of two clients in their first round, which send eight of 160 entries each, few are the same."""
    more = {"task": "examples = 120", "sets": ["model.use='network'", "model.hidden=[160]"]}
    lines = ("clients = 2", "round = 2", "local_steps = 5", compress("random_k_mean", "density = 0.05"))
    (update,) = handed_in(rounds(built(tmp_path, *lines, **more), 1)[0])
    bias = update["Dense_0"]["bias"]
    assert bias.size == 160 and 12 <= (bias != 0).sum() <= 16
