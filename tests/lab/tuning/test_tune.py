import csv
import dataclasses
import json
import os
import signal
import sys
import threading
import time

import numpy as np
import optuna
import pytest
import small_runs
import small_studies
from tiers import one_of_each

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.commands.main import main
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.training.evaluate import scores_of
from optchain.lab.training.experiment import build
from optchain.lab.training.progress import Quiet
from optchain.lab.tuning import cluster, one_by_one, storage, working
from optchain.lab.tuning.claim import seed_of
from optchain.lab.tuning.clock import FolderClock, StudyClock
from optchain.lab.tuning.kept import Kept
from optchain.lab.tuning.programs import Programs, probed

WIDTH = '"model.hidden" = { use = "choice", values = [[4], [8]] }'


def table(folder):
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def facts(found):
    """What may not depend on how the trials were run."""
    return [(t.number, t.labels, t.state, t.steps, t.score) for t in found.trials()]


def test_a_study_writes_its_trials_and_a_configuration_that_train_runs(tmp_path, capsys):
    path = small_studies.written(tmp_path, search='trials = 4\nsampler = "tpe"\nfresh = 2')
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    rows = table(tmp_path / "out")
    assert [row["trial"] for row in rows] == list("0123") and {row["state"] for row in rows} == {"finished"}
    best = min(rows, key=lambda row: float(row["score"]))
    written, text = config.load(tmp_path / "out" / "best.toml"), (tmp_path / "out" / "best.toml").read_text()
    assert written.optimizer["lr"]["learning_rate"] == float(best["optimizer.lr.learning_rate"])
    fresh = sorted((tmp_path / "out" / "fresh").iterdir())
    assert len(fresh) == 2 and all("test" in run.find(one).result["scores"] for one in fresh)
    mean = np.mean([scores_of(run.find(one).result, "validation")["loss"] for one in fresh])
    assert f"# with other seeds {mean:.4f} ± " in text and ", the mean of 2 runs\n" in text
    tuned = {json.loads(one.read_text())["train"]["seed"] for one in (tmp_path / "out").glob("trials/*/*/config.json")}
    assert len(tuned) == 4 and tuned.isdisjoint(run.find(one).config.train.seed for one in fresh)
    # A trial is a run like any other: `train` makes the same of its configuration.
    (one,) = (tmp_path / "out" / "trials" / "0002").glob("seed=*")
    assert main(["train", str(one / "config.json"), "--out", str(tmp_path / "again")]) == 0
    a, b = (
        run.find(folder).result["scores"]["validation"]["parameters"]["loss"] for folder in (one, tmp_path / "again")
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)
    capsys.readouterr()
    # The same command again finds nothing to do, and a larger budget goes on.
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    assert main(["tune", str(path), "--out", str(tmp_path / "out"), "--set", "search.trials=5"]) == 0
    assert table(tmp_path / "out")[:4] == rows and len(table(tmp_path / "out")) == 5


@pytest.mark.full
def test_lanes_and_processes_find_what_one_after_the_other_finds(tmp_path):
    plain = small_studies.searched(tmp_path, "plain")
    search = 'trials = 6\nsampler = "random"\nfresh = 0\n'
    lanes = small_studies.searched(tmp_path, "lanes", search=search + 'parallel = "vmap"\nlanes = 4')
    processes = small_studies.searched(tmp_path, "processes", search=search + 'parallel = "processes"\nworkers = 2')
    wanted = facts(plain)
    for other in (facts(lanes), facts(processes)):
        assert [row[:4] for row in other] == [row[:4] for row in wanted]
        np.testing.assert_allclose([row[4] for row in other], [row[4] for row in wanted], rtol=1e-4)


def test_trials_that_differ_in_numbers_share_what_is_compiled(tmp_path):
    found = small_studies.tuning(tmp_path)
    programs = Programs("study.toml")
    configs = [found.study.config({"optimizer.lr.learning_rate": x}) for x in (1e-3, 1e-2)]
    (_, a), (_, b) = (programs.of(one, ["optimizer.lr.learning_rate"]) for one in configs)
    assert a is b
    carries = [a.run(one, a.start(one), 10)[0] for one in configs]
    assert not np.allclose(*(np.asarray(carry["params"]["Dense_0"]["kernel"]) for carry in carries))
    assert len(a._compiled) == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_studies_that_share_what_is_compiled_may_lack_a_number(tmp_path, is_first):
    """So may trials of one study, where a dimension depends on another."""
    programs, rate, b2 = Programs("study.toml"), "optimizer.lr.learning_rate", "optimizer.adam.b2"
    lacking = small_studies.tuning(tmp_path).study.config({})
    having = config.with_values(lacking, {b2: 0.99})
    for one, keys in [(having, [rate, b2]), (lacking, [rate])][:: 1 if is_first else -1]:
        experiment, program = programs.of(one, [rate, b2])
        assert list(program.setting(experiment.config).numbers) == keys


@pytest.mark.parametrize(
    ("key", "is_argument"),
    [
        ("optimizer.lr.learning_rate", True),
        ("optimizer.adam.b2", True),
        ("train.batch", False),
        ("task.seed", False),
        ("train.log_every", False),
    ],
)
def test_only_numbers_that_the_loop_reads_are_arguments(tmp_path, key, is_argument):
    path = small_studies.written(tmp_path)
    text = path.read_text().replace('"scale_by_adam"', '"scale_by_adam"\nb2 = 0.99')
    study = small_studies.config.load(_rewritten(path, text), table=small_studies.Study)
    built = build(study.config({}), "study.toml")
    assert (key in probed(built, [key]).varied) == is_argument


def _rewritten(path, text):
    path.write_text(text)
    return path


@pytest.mark.full
def test_structures_are_compiled_apart(tmp_path):
    found = small_studies.searched(
        tmp_path, search='sampler = "grid"\nfresh = 0\nparallel = "vmap"\nlanes = 2', space=WIDTH
    )
    assert [trial.labels["model.hidden"] for trial in found.trials()] == ["[4]", "[8]"]
    assert all(trial.state == "finished" for trial in found.trials())


def test_a_trial_that_diverges_is_a_result(tmp_path):
    space = '"optimizer.lr.learning_rate" = { use = "choice", values = [1e-2, 1e38] }'
    for name, parallel in (("plain", "none"), ("lanes", "vmap")):
        search = f'sampler = "grid"\nfresh = 0\nparallel = "{parallel}"'
        found = small_studies.searched(tmp_path, name, search=search, space=space).trials()
        assert [trial.state for trial in found] == ["finished", "diverged"]
        assert np.isnan(found[1].score) and 0 < found[1].steps < 20


@pytest.mark.full
def test_a_budget_of_seconds_ends_where_nothing_can_be_trained(tmp_path, capsys):
    search = 'seconds = 0.2\nsampler = "random"\nfresh = 0'
    space = '"optimizer.lr.learning_rate" = { use = "log", low = 1e37, high = 1e38 }'
    path = small_studies.written(tmp_path, search=search, space=space)
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 3
    rows = table(tmp_path / "out")
    assert {row["state"] for row in rows} == {"diverged"} and all(float(row["training_seconds"]) > 0 for row in rows)
    assert sum(float(row["compiling_seconds"]) + float(row["training_seconds"]) for row in rows[:-1]) < 0.2
    assert "diverged; extend the space downwards" in capsys.readouterr().out
    space = '"model.initializer" = { use = "choice", values = ["uniform", "truncated_normal"] }'
    infeasible = small_studies.searched(tmp_path, "infeasible", None, search=search, space=space).trials()
    assert all(trial.state == "infeasible" and trial.seconds["compiling"] > 0 for trial in infeasible)


def test_a_budget_of_seconds_is_the_clocks(tmp_path, monkeypatch):
    """What is neither training nor compiling counts, too: here the time that showing takes."""
    show = Quiet.show
    monkeypatch.setattr(Quiet, "show", lambda self, row: (time.sleep(0.2), show(self, row)))
    search = 'seconds = 1.0\nsampler = "random"\nfresh = 0'
    found = small_studies.tuning(tmp_path, search=search)
    began = time.perf_counter()
    working.search(found)
    took = time.perf_counter() - began
    trials = found.trials()
    assert 2 <= len(trials) <= 3 and took < 5
    assert all(trial.seconds["training"] < 0.2 for trial in trials)
    working.search(small_studies.Tuning(found.study, found.folder, "study.toml", ""))  # no new budget
    assert len(found.trials()) == len(trials)


def test_the_clock_counts_each_moment_once(tmp_path):
    clock = FolderClock(tmp_path)
    clock.tick()
    for name, times in {"killed": [10, 15], "beside": [12, 18], "within": [13, 14], "later": [30, 31]}.items():
        (tmp_path / "clock" / f"{name}.json").write_text(json.dumps(times))
    assert 9 <= clock.spent() < 10


def test_workers_of_a_database_have_one_clock():
    study = optuna.create_study()
    mine, other = StudyClock(study), StudyClock(study)
    mine.began, other.began = time.time() - 20, time.time() - 15
    other.tick()
    assert 20 <= mine.spent() < 22
    study.set_user_attr("clock:gone", [time.time() - 60, time.time() - 50])
    assert 30 <= mine.spent() < 32


def test_short_trials_write_no_checkpoints_and_long_ones_do(tmp_path, monkeypatch, capsys):
    search = 'trials = 1\nsampler = "random"\nfresh = 0'
    found = small_studies.searched(tmp_path, search=search)
    (one,) = found.trials()[0].folder.glob("seed=*")
    assert not (one / "checkpoints").exists()
    assert main(["evaluate", str(one)]) == 2
    assert "has no checkpoint; of a study the search.keep best trials have one" in capsys.readouterr().err
    monkeypatch.setattr(one_by_one, "REST", 1e-9)
    long = small_studies.tuning(tmp_path, "long", search=search)
    long = dataclasses.replace(
        long,
        study=long.study.model_copy(update={"train": long.study.train.model_copy(update={"checkpoint_every": 10})}),
    )
    with monkeypatch.context() as patched:
        patched.setattr(Kept, "remove_others", lambda *_: None)
        working.search(long)
    (one,) = long.trials()[0].folder.glob("seed=*")
    assert small_runs.saved(one) == [10]
    working.search(long)  # has nothing left to do, and keeps nothing of what has ended
    assert not (one / "checkpoints").exists() and run.find(one).result["step"] == 20


def test_the_best_configuration_makes_the_score_that_was_found(tmp_path):
    found = small_studies.searched(tmp_path)
    found.finish()
    assert main(["train", str(found.folder / "best.toml"), "--out", str(tmp_path / "again")]) == 0
    score = scores_of(run.find(tmp_path / "again").result, "validation")["loss"]
    np.testing.assert_allclose(score, found.winner.score, rtol=1e-5)


def test_lanes_leave_finished_trials_for_the_median(tmp_path):
    search = 'trials = 8\nsampler = "random"\nfresh = 0\nparallel = "vmap"\npruner = { use = "median", trials = 2 }'
    found = small_studies.searched(tmp_path, search=search).trials()
    assert [trial.state for trial in found[:4]] == ["finished"] * 4 and "pruned" in [trial.state for trial in found[4:]]


def test_a_trial_whose_values_do_not_fit_is_infeasible(tmp_path):
    space = """
"model.activation" = { use = "choice", values = ["relu", "tanh"] }
"model.initializer" = { use = "choice", values = ["lecun", "uniform"] }
"""
    found = small_studies.searched(tmp_path, search='sampler = "grid"\nfresh = 0', space=space).trials()
    assert [trial.state for trial in found] == ["finished", "infeasible"] * 2
    assert "needs an initializer_scale" in found[1].why


def test_values_that_never_fit_are_errors_before_anything_runs(tmp_path, capsys):
    path = small_studies.written(tmp_path, space='"model.hiden" = { use = "int", low = 1, high = 2 }')
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "space.'model.hiden' = 1: model.hiden: unknown key; did you mean 'hidden'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    for space, message in (
        ('"optimizer.lr.learning_rate.x" = { use = "int", low = 1, high = 2 }', "got 0.01, in which there is no 'x'"),
        ("", "space: nothing is varied"),
    ):
        path = small_studies.written(tmp_path, space=space)
        assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    prepared = '"preprocess.s.{}" = {{ use = "choice", values = ["feature", "all"] }}'
    for key, message in (("per", None), ("nonsense", "nonsense: unknown key; valid: per, use")):
        path = small_studies.written(tmp_path, search="trials = 1\nfresh = 0", space=prepared.format(key))
        path.write_text(path.read_text() + '\n[preprocess.s]\nuse = "standardize"\n')
        assert main(["tune", str(path), "--out", str(tmp_path / key)]) == (2 if message else 0)
        assert message is None or message in capsys.readouterr().err
    path = small_studies.written(tmp_path, search="trials = 2\nfolds = 5000")
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "task.folds: 5000 of 800 examples" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["tune", str(small_studies.written(tmp_path)), "--out", str(tmp_path / "file")]) == 2
    assert "file exists and is no study of ours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ('sampler = "gp"', "search.sampler = 'gp' needs torch: pip install 'optchain[gp]'"),
        ('parallel = "ray"', "search.parallel = 'ray' needs ray: pip install 'optchain[ray]', or use 'processes'"),
        ('storage = "postgresql+psycopg2://nobody@localhost/x"', "needs the driver psycopg2: pip install psycopg2-b"),
        ('storage = "nonsense://x"', "search.storage = 'nonsense://x': Can't load plugin"),
        ('storage = "sqlite:////nonexistent/x.db"', "unable to open database file"),
    ],
)
def test_what_is_not_installed_is_known_before_anything_is_written(tmp_path, capsys, monkeypatch, search, message):
    monkeypatch.setattr(storage, "lacks", lambda sampler: "torch" if sampler == "gp" else None)
    monkeypatch.setattr(cluster, "is_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    path, out = small_studies.written(tmp_path, search=f"trials = 1\nfresh = 0\n{search}"), tmp_path / "out"
    assert main(["tune", str(path), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("parallel", ["none", "vmap"])
def test_pruned_trials_are_shorter(tmp_path, parallel):
    search = f"""
trials = 8
sampler = "quasi_random"
fresh = 0
parallel = "{parallel}"
pruner = {{ use = "median", trials = 3 }}
"""
    found = small_studies.searched(tmp_path, search=search + ("lanes = 2\n" if parallel == "vmap" else "")).trials()
    states = [trial.state for trial in found]
    assert states[:3] == ["finished"] * 3 and "pruned" in states
    assert all(trial.steps == (10 if trial.state == "pruned" else 20) for trial in found)


@pytest.mark.parametrize("use", one_of_each(["median", "halving", "hyperband"]))
def test_the_gaussian_process_searches_while_trials_are_pruned(tmp_path, use):
    pytest.importorskip("torch")
    search = f'trials = 16\nsampler = "gp"\nfresh = 0\npruner = {{ use = "{use}" }}'
    found = small_studies.searched(tmp_path, search=search).trials()
    states = [trial.state for trial in found]
    assert len(found) == 16 and set(states) == {"finished", "pruned"}
    assert all(trial.steps == (10 if trial.state == "pruned" else 20) for trial in found)
    # After ten random trials the process proposes: what it proposes is better than what was drawn.
    first, later = ([trial.labels["optimizer.lr.learning_rate"] for trial in part] for part in (found[:10], found[10:]))
    assert np.mean(np.log(later)) > np.mean(np.log(first))


@pytest.mark.full
def test_a_database_keeps_the_trials_wherever_the_folder_is_moved_to(tmp_path, capsys):
    search = f'trials = 3\nsampler = "tpe"\nfresh = 0\nstorage = "sqlite:///{tmp_path / "studies.db"}"'
    path, out, moved = small_studies.written(tmp_path, search=search), tmp_path / "out", tmp_path / "moved"
    assert main(["tune", str(path), "--out", str(out)]) == 0
    rows = table(out)
    out.rename(moved)
    more = ["--set", "search.trials=5"]
    assert main(["tune", str(path), "--out", str(moved), *more]) == 0
    assert [row["score"] for row in table(moved)[:3]] == [row["score"] for row in rows] and len(table(moved)) == 5
    # Another folder is another study in the same database, and so is one that is overwritten.
    assert main(["tune", str(path), "--out", str(out)]) == 0
    assert main(["tune", str(path), "--out", str(moved), "--overwrite"]) == 0
    assert len(optuna.get_all_study_names(f"sqlite:///{tmp_path / 'studies.db'}")) == 3
    facts = [[[row[key] for key in ("trial", "score", "state")] for row in table(one)] for one in (out, moved)]
    assert facts[0] == facts[1] == [[row[key] for key in ("trial", "score", "state")] for row in rows]
    capsys.readouterr()
    shared = ["--set", "search.parallel=processes"]
    assert main(["tune", str(path), "--out", str(tmp_path / "shared"), *shared]) == 2
    assert "processes that write to one SQLite file lock each other out" in capsys.readouterr().err


@pytest.mark.parametrize("sampler", ["random", "quasi_random", "tpe"])
def test_a_study_in_two_parts_proposes_what_it_proposes_in_one(tmp_path, sampler):
    whole = small_studies.tuning(tmp_path, "whole", search=f'trials = 14\nsampler = "{sampler}"')
    parts = small_studies.tuning(tmp_path, "parts", search=f'trials = 14\nsampler = "{sampler}"')

    def proposed(found, count):
        study = storage.opened(found.study, found.folder)
        for _ in range(count):
            trial = study.ask()
            rate = trial.suggest_float("optimizer.lr.learning_rate", 1e-3, 1e-1, log=True)
            study.tell(trial, (np.log(rate) + 4) ** 2)
        return [trial.params for trial in study.get_trials()]

    proposed(parts, 5)
    found = proposed(whole, 14)
    assert proposed(parts, 9) == found and len({str(one) for one in found}) == 14


def test_seeds_follow_from_the_study_and_the_trial():
    seeds = {seed_of(study, number, run) for study in range(3) for number in range(20) for run in range(3)}
    assert len(seeds) == 180 and seed_of(0, 1, 2) == seed_of(0, 1, 2)


@pytest.mark.full
def test_seeds_and_folds_are_runs_of_one_trial(tmp_path):
    search = 'trials = 2\nsampler = "random"\nfresh = 1\nseeds = 2\nfolds = 3'
    plain = small_studies.searched(tmp_path, "plain", search=search)
    lanes = small_studies.searched(tmp_path, "lanes", search=search + '\nparallel = "vmap"')
    for found in (plain, lanes):
        for trial in found.trials():
            found_runs = [run.find(path) for path in trial.folder.glob("seed=*")]
            scores = [scores_of(one.result, "validation")["loss"] for one in found_runs]
            assert len(scores) == 6 and trial.steps == 120
            np.testing.assert_allclose(trial.score, np.mean(scores), rtol=1e-6)
    np.testing.assert_allclose([row[4] for row in facts(lanes)], [row[4] for row in facts(plain)], rtol=1e-3)
    assert config.load(next(plain.trials()[0].folder.glob("*fold=2/config.json"))).task.fold == 2


@pytest.mark.full
def test_a_study_of_folds_needs_no_validation_examples(tmp_path):
    path = small_studies.written(tmp_path, search='trials = 2\nsampler = "random"\nfresh = 1\nfolds = 2')
    path.write_text(path.read_text().replace("validation = 200\n", ""))
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "with other seeds" not in (tmp_path / "out" / "best.toml").read_text()
    (one,) = (tmp_path / "out" / "fresh").glob("*/result.json")
    assert "test" in json.loads(one.read_text())["scores"]


def test_what_a_killed_command_left_of_a_file_does_not_take_the_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json.host.1.part").write_text("{")
    small_studies.tuning(tmp_path)


def test_another_study_in_the_folder_is_an_error(tmp_path, capsys):
    small_studies.tuning(tmp_path)
    path = small_studies.written(tmp_path, space=small_studies.RATE.replace("1e-1", "1.0"))
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "space.optimizer.lr.learning_rate.high: 0.1 -> 1.0" in capsys.readouterr().err


def test_a_signal_in_the_last_steps_of_a_trial_is_not_lost(tmp_path, monkeypatch):
    found = small_studies.tuning(tmp_path)
    show = Quiet.show

    def stop(self, row):
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        show(self, row)

    monkeypatch.setattr(Quiet, "show", stop)
    with pytest.raises(Interrupted):
        working.search(found)
    assert len(list(tmp_path.glob("out/trials/*/*/result.json"))) == 1
    monkeypatch.undo()
    again = small_studies.Tuning(found.study, found.folder, "study.toml", "")
    working.search(again)
    assert [trial.state for trial in again.trials()] == ["finished"] * 6


def test_two_processes_never_run_one_trial(tmp_path):
    found = small_studies.tuning(tmp_path)
    with found.claims.next() as mine:
        again = small_studies.Tuning(found.study, found.folder, "study.toml", "")
        with again.claims.next() as other:
            assert (mine.number, other.number) == (0, 1)
    # Both were left: whoever comes next takes them first, in order.
    with found.claims.next() as claim:
        assert claim.number == 0 and claim.labels == mine.labels


def test_a_trial_that_another_process_gives_up_is_taken_over(tmp_path):
    found = small_studies.tuning(tmp_path, search='trials = 1\nsampler = "random"\nfresh = 0')
    mine = found.claims.next()
    mine.__enter__()
    threading.Timer(1.0, mine.__exit__, (None, None, None)).start()
    again = small_studies.Tuning(found.study, found.folder, "study.toml", "")
    with again.claims.next() as claim:  # nothing is left, but what is running may not end
        assert claim.number == 0


def test_the_budget_is_kept_when_processes_ask_at_once(tmp_path):
    found = small_studies.tuning(tmp_path, search='trials = 1\nsampler = "random"\nfresh = 0')
    study = storage.opened(found.study, found.folder)
    study.ask(), study.ask()  # as two processes would, each of which saw that one is left
    with found.claims.next() as claim:
        assert claim.number == 0
        assert found.claims.next() is None
    assert [trial.number for trial in found.trials()] == [0]


def test_a_line_that_a_killed_process_did_not_finish_is_cut_off(tmp_path):
    found = small_studies.searched(tmp_path, search='trials = 2\nsampler = "random"\nfresh = 0')
    with (found.folder / "study.journal").open("a") as file:
        file.write('{"op_code": 4, "wor')
    again = small_studies.Tuning(found.study, found.folder, "study.toml", "")
    assert len(again.trials()) == 2
    again.claims.optuna_study.ask()
    journal = (found.folder / "study.journal").read_text()
    (found.folder / "study.journal").write_text(journal + "no JSON\n")
    with pytest.raises(InputError, match="study.journal: a line of it is no JSON"):
        small_studies.Tuning(found.study, found.folder, "study.toml", "").trials()
    (found.folder / "study.journal").write_text(journal)
    assert len(small_studies.Tuning(found.study, found.folder, "study.toml", "").trials()) == 3


@pytest.mark.full
@pytest.mark.parametrize("parallel", one_of_each(["none", "vmap", "processes"]))
def test_a_killed_study_goes_on_and_loses_nothing(tmp_path, parallel):
    search = f'trials = 6\nsampler = "random"\nfresh = 0\nparallel = "{parallel}"\n'
    search += {"vmap": "lanes = 2\n", "processes": "workers = 2\n"}.get(parallel, "")
    small_studies.written(tmp_path, search=search)
    command = ["tune", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")]
    process = small_runs.start(*command)
    path = tmp_path / "out" / "trials.csv"
    deadline = time.monotonic() + 120
    while not (path.exists() and len(path.read_text().splitlines()) > 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {trial.number: trial for trial in small_studies.tuning(tmp_path, search=search).trials() if trial.ended}
    assert before
    assert main(command) == 0
    after = small_studies.tuning(tmp_path, search=search).trials()
    assert [trial.number for trial in after] == list(range(6)) and all(trial.state == "finished" for trial in after)
    assert all(after[number].score == trial.score for number, trial in before.items())
    told = [line for line in small_studies.journal(tmp_path / "out") if line.get("state") == 1]
    assert len(told) == 6  # each trial was told once


@pytest.mark.full
def test_two_commands_at_once_share_a_study_and_its_fresh_runs(tmp_path):
    path = small_studies.written(tmp_path, search='trials = 8\nsampler = "random"\nfresh = 2')
    both = [small_runs.start("tune", str(path), "--out", str(tmp_path / "out")) for _ in range(2)]
    said = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert [row["trial"] for row in table(tmp_path / "out")] == list("01234567")
    assert len([line for line in small_studies.journal(tmp_path / "out") if line.get("state") == 1]) == 8
    logs = list((tmp_path / "out" / "fresh").glob("*/metrics.jsonl"))
    assert [len(read(log)) for log in logs] == [20 + 2] * 2  # steps and evaluations, of one run each


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["none", "vmap", "processes"])
def test_five_kills_at_random_moments_change_nothing(tmp_path, parallel):
    """The budget is chosen once the last process is killed, for workers go on until they see that theirs is gone."""
    search = 'trials = 100_000\nsampler = "random"\nfresh = 0\n'
    parts = {"vmap": 'parallel = "vmap"\nlanes = 4', "processes": 'parallel = "processes"\nworkers = 2'}
    path = small_studies.written(tmp_path, search=search + parts.get(parallel, ""))
    study = config.load(path, table=small_studies.Study)
    command = ["tune", str(path), "--out", str(tmp_path / "out")]
    draw = np.random.default_rng()
    ended = [0]
    for _ in range(5):
        process, shown = small_runs.start(*command), tmp_path / "out" / "trials.csv"
        wanted = ended[-1] + int(draw.integers(1, 10))  # trials that have ended when the process is killed
        while not shown.exists() or len(shown.read_text().splitlines()) <= wanted:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.communicate()
        trials = small_studies.Tuning(study, tmp_path / "out", "study.toml", "").trials()
        ended.append(sum(trial.ended for trial in trials))
    count = len(trials) + 8
    print(f"{parallel}: killed when {ended[1:]} of {count} trials had ended")
    assert ended == sorted(set(ended))
    assert main([*command, "--set", f"search.trials={count}"]) == 0
    found = small_studies.Tuning(study, tmp_path / "out", "study.toml", "")
    whole = small_studies.searched(tmp_path, "whole", search=search.replace("100_000", str(count)))
    assert [row[:4] for row in facts(found)] == [row[:4] for row in facts(whole)]
    np.testing.assert_allclose([row[4] for row in facts(found)], [row[4] for row in facts(whole)], rtol=1e-4)
    assert len([line for line in small_studies.journal(tmp_path / "out") if line.get("state") == 1]) == count


def test_lanes_need_steps_that_end_with_an_evaluation(tmp_path, capsys):
    path = small_studies.written(tmp_path, search='trials = 2\nsampler = "random"\nparallel = "vmap"')
    assert main(["tune", str(path), "--out", str(tmp_path / "out"), "--set", "train.steps=25"]) == 2
    assert "train.steps = 25 that is a multiple of train.evaluate_every = 10" in capsys.readouterr().err


@pytest.mark.parametrize("parallel", ["none", "vmap"])
@pytest.mark.full
def test_stepped_and_normal_numbers_reach_the_configuration(tmp_path, parallel):
    space = """
"optimizer.lr.learning_rate" = { use = "log_normal", mean = -4.6, deviation = 0.5 }
"model.hidden" = { use = "choice", values = [[8]] }
"optimizer.adam.b2" = { use = "float", low = 0.9, high = 1.0, step = 0.03 }
"""
    search = f'trials = 4\nsampler = "quasi_random"\nfresh = 0\nparallel = "{parallel}"'
    found = small_studies.searched(tmp_path, programs=None, search=search, space=space)
    small_studies.write(found)
    for trial in found.trials():
        (config,) = (json.loads(path.read_text()) for path in trial.folder.glob("*/config.json"))
        assert config["optimizer"]["lr"]["learning_rate"] == trial.labels["optimizer.lr.learning_rate"]
        assert config["optimizer"]["adam"]["b2"] == trial.labels["optimizer.adam.b2"]
        assert trial.labels["optimizer.adam.b2"] in (0.9, 0.93, 0.96, 0.99)
        assert 1e-3 < trial.labels["optimizer.lr.learning_rate"] < 0.1
    assert len({trial.labels["optimizer.lr.learning_rate"] for trial in found.trials()}) == 4


def test_brute_force_ends_when_all_has_been_tried(tmp_path):
    space = '"optimizer.lr.learning_rate" = { use = "float", low = 0.01, high = 0.03, step = 0.01 }'
    search = 'trials = 9\nfresh = 0\nsampler = "optuna.samplers:BruteForceSampler"'
    found = small_studies.searched(tmp_path, search=search, space=space)
    rates = [trial.labels["optimizer.lr.learning_rate"] for trial in found.trials()]
    assert sorted(rates) == [0.01, 0.02, 0.03]
    working.search(small_studies.Tuning(found.study, found.folder, "study.toml", ""))
    assert len(found.trials()) == 3
    small_studies.write(found)
    assert (
        "as BruteForceSampler (optuna.samplers:BruteForceSampler) finds it"
        in (found.folder / "report.html").read_text()
    )


PRUNERS = {
    "percentile": '{ use = "optuna.pruners:PercentilePruner", percentile = 50.0, n_startup_trials = 2 }',
    "threshold": '{ use = "optuna.pruners:ThresholdPruner", upper = 0.6 }',
}


@pytest.mark.parametrize("kind", PRUNERS)
def test_pruners_by_place_end_trials(tmp_path, kind):
    search = f'trials = 8\nsampler = "quasi_random"\nfresh = 0\npruner = {PRUNERS[kind]}'
    found = small_studies.searched(tmp_path, search=search).trials()
    assert {trial.state for trial in found} == {"finished", "pruned"}


def test_a_pruner_may_be_made_of_another(tmp_path, capsys):
    inner = '{ use = "optuna.pruners:PercentilePruner", percentile = 50.0 }'
    search = f'trials = 1\npruner = {{ use = "optuna.pruners:PatientPruner", patience = 2, wrapped_pruner = {inner} }}'
    built = storage.pruner(small_studies.tuning(tmp_path, search=search).study)
    assert isinstance(built._wrapped_pruner, optuna.pruners.PercentilePruner) and built._patience == 2
    for pruner, message in (
        ('{ use = "optuna.pruners:PatientPruner", patience = -2, wrapped_pruner = "x" }', "place of a BasePruner"),
        ('{ use = "optuna.pruners:PercentilePruner", percentile = 300.0 }', "search.pruner: optuna.pruners:Percentile"),
        ('"optuna.pruners:MedianPrunr"', "did you mean 'MedianPruner'"),
        ('"medain"', "search.pruner.use: got 'medain'; did you mean 'median'"),
    ):
        path = small_studies.written(tmp_path, search=f"trials = 1\npruner = {pruner}")
        assert main(["tune", str(path), "--out", str(tmp_path / "none")]) == 2
        assert message in capsys.readouterr().err


def test_wilcoxons_test_compares_the_runs_of_trials_one_by_one(tmp_path):
    space = '"optimizer.lr.learning_rate" = { use = "choice", values = [0.1, 0.0001, 0.0002] }'
    pruner = '{ use = "optuna.pruners:WilcoxonPruner", p_threshold = 0.3 }'
    search = f'sampler = "grid"\nfresh = 0\nseeds = 4\npruner = {pruner}'
    found = small_studies.searched(tmp_path, search=search, space=space).trials()
    assert [trial.state for trial in found] == ["finished", "pruned", "pruned"]
    assert all(trial.steps < 80 for trial in found[1:])
