import json

import numpy as np
import pytest

from experiments.benchmarks import search, sweep
from experiments.benchmarks.__main__ import main
from experiments.benchmarks.contenders import no_torch
from optchain import lab
from optchain.lab.base.intervals import scored
from optchain.lab.training.evaluate import floats
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

torch = pytest.mark.skipif(no_torch() is not None, reason="torch is not installed")
PLAIN, EVEN, PRUNED, TRIALS, EVERY = "random", "quasi_random", "tpe, hyperband", 6, 2


@pytest.fixture
def swept(monkeypatch):
    monkeypatch.setattr(sweep, "HIDDEN", 4)
    return sweep.described(rates=3, every=5, evaluations=2)


@pytest.mark.full
def test_all_ways_of_a_sweep_find_the_same_losses(swept, tmp_path):
    wanted = sweep.one_by_one(swept, tmp_path)
    assert len(set(wanted)) == 3 and sweep.rates_of(swept) == pytest.approx([1e-4, 10**-2.5, 1e-1])
    np.testing.assert_allclose(sweep.recompiled(swept, tmp_path), wanted, rtol=1e-5)
    for name, way in {"lanes": sweep.lanes, "tune": lambda *given: sweep.tuned({"parallel": "none"}, *given)}.items():
        (tmp_path / name).mkdir()
        np.testing.assert_allclose(way(swept, tmp_path / name), wanted, rtol=1e-5, err_msg=name)


@torch
def test_torch_sweeps_the_same_rates(swept, tmp_path):
    least, largest = sweep.torch_loop(sweep.described(rates=2, every=15, evaluations=2), tmp_path)
    assert largest < least  # the order of the rates is kept: in so few steps the least has hardly learned anything


def test_a_sweep_that_fails_says_why(swept, tmp_path):
    with pytest.raises(lab.InputError, match="sweep: search.parallel: got 'threads'"):
        sweep.tuned({"parallel": "threads"}, swept, tmp_path)


@pytest.mark.full
def test_sweep_prints_and_records_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for i, name in enumerate(("recompiled", "one_by_one", "lanes", "tuned")):
        monkeypatch.setattr(sweep, name, lambda *given, i=i: [2.0, 1.0 + i / 8, 3.0])
    path = sweep.run(rates=3, every=5, evaluations=2, repeats=2, out=tmp_path / "sweep.jsonl")
    rows = {row["way"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert list(rows) == [sweep.RECOMPILED, sweep.ONE_BY_ONE, sweep.LANES, *sweep.TUNE]  # none of torch, there is none
    assert rows[sweep.RECOMPILED]["times_faster"] == 1
    for row in rows.values():
        assert 0 < row["seconds_min"] <= row["seconds_median"] and row["rates"] == 3 and row["steps"] == 10
        assert row["best_rate"] == pytest.approx(10**-2.5) and row["times_faster_than_torch"] is None
    assert (rows[sweep.LANES]["largest_difference"], rows[sweep.LANES]["median_difference"]) == (1 / 8, 0)
    printed = capsys.readouterr().out
    assert "torch rows left out" in printed and sweep.LANES in printed


def test_a_contest_of_one_study_has_no_interval(capsys):
    with pytest.raises(SystemExit):
        main(["search", "--studies", "1"])
    assert "at least 2, got 1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    """The rows of a small contest of three methods, and the page about it."""
    out, methods = tmp_path_factory.mktemp("search") / "search.jsonl", search.contenders("hyperband")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "contenders", lambda pruner: {name: methods[name] for name in (PLAIN, EVEN, PRUNED)})
        search.run(studies=2, trials=TRIALS, every=EVERY, fresh=2, pruner="hyperband", out=out)
    return [json.loads(line) for line in out.read_text().splitlines()], out.with_suffix(".html").read_text()


@pytest.mark.full
def test_studies_have_as_many_steps_and_a_pruner_makes_more_trials_of_them(contest):
    studies = [row for row in contest[0] if "seed" in row]
    names = [(row["method"], row["seed"]) for row in studies]
    assert names == [(method, seed) for method in (PLAIN, EVEN, PRUNED) for seed in (0, 1)]
    for row in studies:
        full = search.EVALUATIONS * EVERY
        assert row["steps"] == TRIALS * full
        steps = [chosen["step"] for chosen in row["chosen"]]
        assert steps == sorted(set(steps)) and all(full <= step <= row["steps"] for step in steps)
        if row["method"] != PRUNED:
            assert row["trials"] == TRIALS and row["pruned"] == 0 and all(step % full == 0 for step in steps)
        else:
            assert row["trials"] > TRIALS and row["pruned"] > 0
    assert len({row["optimizer"]["lr"]["peak"] for row in studies if row["method"] != PRUNED}) == 4


@pytest.mark.full
def test_what_is_chosen_is_judged_by_whole_runs_with_fresh_seeds(contest):
    row = contest[0][0]
    base = search.described({"sampler": "random"}, EVERY).config({})
    config = base.model_copy(update={"optimizer": row["optimizer"]})
    built = build(config, "chosen")
    program, losses = Program(built), []
    for seed in range(2):
        one = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        carry, *_ = program.run(one, program.start(one), one.train.steps)
        variables = {"params": carry["params"], "rest": carry["rest"]}
        losses.append({split: floats(program.evaluate(variables, *program.data[split])) for split in program.data})
    for split in ("validation", "test"):
        for name in ("loss", "accuracy"):
            assert row[f"{split}_{name}"] == pytest.approx(np.mean([x[split][name] for x in losses]), rel=1e-4)
    assert row["chosen"][-1]["validation_loss"] == row["validation_loss"] != row["own_loss"]


def test_methods_are_set_beside_random_search_with_the_same_seeds(contest):
    rows, page = contest
    (plain, even, pruned) = rows[6:]
    assert [row["method"] for row in rows[6:]] == [PLAIN, EVEN, PRUNED] and plain["behind_random"] == "-"
    apart = [b["validation_loss"] - a["validation_loss"] for a, b in zip(rows[:2], rows[2:4], strict=True)]
    assert even["behind_random"].startswith(f"{scored(np.mean(apart))} ±") and np.mean(apart) != 0
    assert pruned["trials"] > even["trials"] == TRIALS
    assert page.count("<svg") == 2 and PRUNED in page


def test_a_number_of_the_space_that_would_be_compiled_anew_is_not_searched():
    study = search.described({"sampler": "random"}, EVERY)
    assert set(search.lanes(study, 2).program.varied) == set(study.space)


def test_a_study_without_a_finished_trial_is_an_error(tmp_path):
    one = search.Searcher(PLAIN, search.described({"sampler": "random", "seed": 7}, EVERY), tmp_path)
    one.endings = ["diverged", "diverged"]
    with pytest.raises(
        lab.InputError, match=r"random, seed 7: no trial finished \(diverged, diverged\); expected more"
    ):
        search.require_chosen([one])
