"""Whole runs with bad clients, which some rules bear, and with sums that nobody reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federated_runs import built, rounds

from optchain.core.leading import along
from optchain.federated import secure_mean
from optchain.lab.training.program import Program

RULES = {
    "client_mean": "",
    "client_median": "",
    "client_trimmed_mean": ", trim = 0.3",
    "krum": ", byzantine = 5, keep = 5",
}
ATTACKS = {"sign_flip": 10.0, "noise": 100.0, "scale": 100.0}
SETS = ["task.use='task.py:many'", "model.use='network'", "model.hidden=[16]", "task.test=1000"]


def loss(folder, rule, *gradient):
    """That of held-out examples, of four classes, after 30 rounds of 20 clients of 25."""
    lines = ("clients = 25", "round = 20", "local_steps = 10", *gradient)
    experiment = built(folder, *lines, combine=f"{{ use = '{rule}'{RULES[rule]} }}", sets=SETS)
    program = Program(experiment)
    carry, log, _ = program.run(experiment.config, experiment.start(), 30)
    scores = program.evaluate({"params": carry["params"], "rest": carry["rest"]}, *program.data["test"])
    return float(scores["loss"])


def bad(attack):
    """Five of the 25 clients: of the 20 in a round a quarter at most."""
    return f"byzantine = {{ clients = 5, attack = '{attack}', size = {ATTACKS[attack]} }}"


@pytest.mark.parametrize(
    "rule", [x if x == "client_median" else pytest.param(x, marks=pytest.mark.full) for x in RULES]
)
def test_bad_clients_ruin_the_mean_and_no_robust_rule(tmp_path, rule):
    honest = loss(tmp_path, rule)
    assert honest < 0.15
    for attack in ATTACKS:
        found = loss(tmp_path, rule, bad(attack))
        assert found > 2 if rule == "client_mean" else found < honest + 0.3, (attack, found)


def test_secure_sums_are_plain_sums_of_whole_numbers_to_the_bit(tmp_path, monkeypatch):
    """With clients that drop out; in the other run nobody masks anything."""
    lines = ("clients = 12", "round = 8", "local_steps = 3", "skew = 1.0", "dropout = 0.4")
    more = {"task": "examples = 120", "sets": ["model.use='network'", "model.hidden=[8]"]}
    secure = "{ use = 'client_secure_mean', bound = 4.0 }"
    carries, told = rounds(built(tmp_path, *lines, combine=secure, **more), 12)
    means, _ = rounds(built(tmp_path, *lines, **more), 12)
    masked = []

    def in_the_open(draw, encoded):
        masked.append((secure_mean_sent(draw, encoded), encoded))
        return encoded

    def plain(draw, messages, present):
        return jnp.sum(jnp.where(along(present, messages), messages, 0), axis=0, dtype=jnp.uint32)

    secure_mean_sent = secure_mean.sent
    monkeypatch.setattr(secure_mean, "sent", in_the_open)
    monkeypatch.setattr(secure_mean, "sum_of_sent", plain)
    others, _ = rounds(built(tmp_path, *lines, combine=secure, **more), 12)
    assert masked  # the other functions were traced
    for one, other in zip(jax.tree.leaves(carries), jax.tree.leaves(others), strict=True):
        np.testing.assert_array_equal(one, other)
    present = {float(x["bytes_up"]) for x in told}
    assert len(present) > 3 and max(present) < 8 * min(x for x in present if x)
    apart = [
        np.abs(a - b).max()
        for a, b in zip(*(map(np.asarray, jax.tree.leaves(x[-1]["params"])) for x in (carries, means)), strict=True)
    ]
    assert 0 < max(apart) < 1e-4  # whole numbers are fine ones, and not the floats of the mean
