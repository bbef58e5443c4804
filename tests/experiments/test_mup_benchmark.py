"""The best rate is read off the losses as it should be, and so is what it is worth at another width."""

import numpy as np
import pytest

from experiments.benchmarks.mup import best, moves, run, transfers

RATES = 2.0 ** np.arange(-8, -3)


def rows():
    """Of two ways at two widths: with the first, the best rate stays."""
    losses = {
        ("mup", 32): (5.0, 3.0, 1.0, 2.0, 4.0),
        ("mup", 512): (3.0, 2.0, 0.5, 1.0, 4.0),
        ("sp", 32): (5.0, 3.0, 1.0, 2.0, 4.0),
        ("sp", 512): (0.5, 1.0, 2.0, 3.0, 4.0),
    }
    named = {key: {f"{rate:.3g}": x for rate, x in zip(RATES, values, strict=True)} for key, values in losses.items()}
    return [
        {"way": way, "width": width, "losses": named[way, width], "best rate": best(RATES, np.asarray(values))}
        for (way, width), values in losses.items()
    ]


def test_the_best_rate_is_the_lowest_point_of_a_parabola():
    over = np.log2(RATES)
    assert best(RATES, (over + 6.3) ** 2) == pytest.approx(2**-6.3)
    assert best(RATES, over) == RATES[0]  # at an end it is the rate itself
    assert best(RATES, np.where(over == -5, np.inf, (over + 6.3) ** 2)) == RATES[2]  # beside a run that diverged too


def test_how_far_the_best_rate_moves():
    within, beyond = moves("digits", rows())
    assert within["met"] and within["measured"] < 1.5 and beyond["measured"] > 3


def test_what_the_best_rate_of_the_first_width_saves_at_the_last():
    mup, sp = transfers("digits", rows())
    # One of five rates is as good: three are drawn on average. Without muP three of five are as good or better.
    assert (mup["loss"], mup["lowest loss"], mup["trials"]) == (0.5, 0.5, 3)
    assert (sp["loss"], sp["lowest loss"], sp["trials"]) == (2.0, 0.5, 1.5)


@pytest.mark.slow
def test_both_ways_are_measured(tmp_path, capsys):
    run(["digits"], [8, 16], low=2**-8, high=2**-6, per_octave=1, seeds=1, out=tmp_path / "mup.jsonl")
    assert "The best rate of the first width, at the last one" in capsys.readouterr().out
    assert len((tmp_path / "mup.jsonl").read_text().splitlines()) == 8
    assert all((tmp_path / f"mup-digits-{way}.svg").exists() for way in ("mup", "sp"))
