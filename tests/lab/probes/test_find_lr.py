import csv

import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.probes.find_lr import Sweep, rate_of, smooth, sweep, with_sweep
from optchain.lab.runs import config
from optchain.lab.runs.config import with_values
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

CONFIGS = small_runs.ROOT / "configs"


def found(losses, low=1e-5, high=10.0):
    rates = low * (high / low) ** (np.arange(len(losses)) / (len(losses) - 1))
    return Sweep("optimizer.lr", rates, np.asarray(losses), len(losses))


def test_the_mean_has_no_bias_of_its_start():
    np.testing.assert_allclose(smooth(np.full(30, 2.5)), 2.5)
    np.testing.assert_allclose(smooth(np.array([1.0, 3.0])), [1.0, (0.9 * 0.1 + 0.1 * 3.0) / 0.19])


def test_the_loss_falls_fastest_in_the_middle_of_its_fall():
    rates = found(np.ones(200)).rates
    falling = 2 - 1.8 / (1 + np.exp(-4 * (np.log10(rates) + 2.5)))  # by 10**-2.5
    one = found(np.where(rates < 0.3, falling, falling + rates**2))
    assert 10**-2.5 < one.steepest < 10**-2  # the running mean is late by some steps
    assert one.steepest < one.lowest < 1


def test_a_loss_that_only_rises_says_nothing():
    with pytest.raises(InputError, match="optimizer.lr: the loss did not fall.*--from"):
        _ = found(np.linspace(1, 3, 100)).steepest


@pytest.mark.parametrize(
    "name, key, place",
    [
        ("digits/adamw", None, "optimizer.lr"),
        ("digits/adamw", "optimizer.lr.peak", "optimizer.lr"),
        ("digits/adabelief", None, "optimizer.belief.learning_rate"),
        ("circles/adam", None, "optimizer.lr.learning_rate"),
        ("circles/adam", "optimizer.lr.learning_rate", "optimizer.lr.learning_rate"),
    ],
)
def test_the_rate_is_found(name, key, place):
    assert rate_of(config.load(CONFIGS / f"{name}.toml"), key) == place


@pytest.mark.parametrize(
    "key, sets, message",
    [
        ("optimizer.lr.peek", [], "--key optimizer.lr.peek: .* no such number; did you mean 'optimizer.lr.peak'?"),
        ("optimizer.adam.use", [], "--key optimizer.adam.use: got 'scale_by_adam'; expected a number"),
        ("train.steps", [], "no such number"),
        (
            None,
            ["optimizer.b={use='adamw', learning_rate=1.0}"],
            "has several: optimizer.lr, optimizer.b.learning_rate",
        ),
        (None, ["optimizer.lr={use='scale', step_size=-0.1}"], "no learning_rate and no schedule as a link; .* --key"),
    ],
)
def test_a_rate_that_is_not_found_is_named(key, sets, message):
    with pytest.raises(InputError, match=message):
        rate_of(config.load(CONFIGS / "digits" / "adamw.toml", sets), key)


def test_the_sweep_trains_with_the_rates_that_it_reports(tmp_path):
    """The same losses as those of a run that is given the rates, and it ends where the loss rises."""
    resolved = config.load(CONFIGS / "linear" / "default.toml")
    key = rate_of(resolved, None)
    one = sweep(build(with_sweep(resolved, key, 1e-3, 1e3, 60), "linear"), key, 1e-3, 1e3, 60)
    assert one.risen and 20 < len(one.losses) < 60 and one.smoothed[-1] <= 4 * one.smoothed.min()
    by_hand = {"use": "piecewise", "values": one.rates.tolist(), "boundaries": list(range(1, len(one.rates)))}
    built = build(with_values(resolved, {key: by_hand}), "linear")
    _, logs, _ = Program(built).run(built.config, built.start(), len(one.rates))
    np.testing.assert_allclose(logs["loss"], one.losses, rtol=1e-3)


def test_the_command_suggests_writes_and_refuses(tmp_path, capsys):
    file = str(small_runs.small(tmp_path))
    options = ["--steps", "60", "--from", "1e-5", "--out", str(tmp_path / "found")]
    for _ in range(2):  # a range test may be made again in its place
        assert main(["find-lr", file, *options]) == 0
    out = capsys.readouterr().out
    assert "suggested: " in out and "a tenth of the rate with the lowest loss" in out
    with (tmp_path / "found" / "rates.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[0]["rate"]) == pytest.approx(1e-5) and len(rows) <= 60
    page = (tmp_path / "found" / "report.html").read_text()
    assert f"optchain find-lr --from 1e-05 --to 10.0 --steps 60 {file}" in page and page.count("<svg") == 1
    for arguments, message in [
        (["--from", "1", "--to", "0.1"], "--from 1 --to 0.1: expected positive rates that rise"),
        (["--steps", "3"], "--steps 3: expected at least 40"),
        (["--out", str(tmp_path)], "holds no range test of ours; choose another --out"),
    ]:
        assert main(["find-lr", file, *options, *arguments]) == 2
        assert message in capsys.readouterr().err
