"""What is measured of means of which a part is sent."""

from experiments.benchmarks import compression
from optchain.inspect.collectives import Sent, sent_by_each


def test_a_sum_goes_round_twice_and_all_else_once():
    found = {"all-reduce": Sent(2, 80), "all-gather": Sent(1, 160), "all-to-all": Sent(1, 16)}
    assert sent_by_each(found, 8) == 140 + 140 + 14
    assert sent_by_each({"reduce-scatter": Sent(1, 10), "collective-permute": Sent(1, 3)}, 8) == 70 + 3


def test_bits_are_an_eighth_of_a_dense_mean_on_eight_devices():
    chosen = {name: compression.CONTENDERS[name] for name in (compression.DENSE, "sign_mean()")}
    dense, signs = compression.measured(chosen, steps=12, seeds=2)
    parameters = 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert dense["bytes sent a step"] == 2 * 7 * 4 * parameters // 8 and dense["dense / this"] == 1
    assert 7.5 < signs["dense / this"] < 8 and "all-gather" in signs["collectives"]
