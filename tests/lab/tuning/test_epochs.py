"""Studies and comparisons whose trials are a number of epochs long."""

import pytest
import small_studies

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.comparison.tables import Comparison
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.tuning import storage, working
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import Tuning

BATCH = '"train.batch" = { use = "choice", values = [100, 200] }'  # of 600 examples: 6 and 3 steps
LENGTH = ["epochs = 2", 'evaluate_every = "epoch"', ""]


def written(folder, search, space=small_studies.RATE, length=LENGTH):
    path = small_studies.written(folder, search=search, space=space)
    text = path.read_text().replace("batch = 32", "batch = 200")
    for old, new in zip(["steps = 20", "evaluate_every = 10", "checkpoint_every = 20"], length, strict=True):
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    rate = 'use = "cosine"\nstart = 1e-2\nsteps = "train.steps"'
    path.write_text(text.replace('use = "scale_by_learning_rate"\nlearning_rate = 1e-2', rate))
    return path


def searched(folder, name="out", **texts):
    path = written(folder, space=BATCH, **texts)
    found = Tuning(config.load(path, table=Study), folder / name, "study.toml", "tune", small_studies.PROGRAMS)
    found.prepare(overwrite=False)
    working.search(found)
    return found


def runs_of(found):
    return [run.find(folder) for trial in found.trials() for folder in trial.folder.glob("seed=*")]


@pytest.mark.parametrize("parallel", ["none", pytest.param("vmap", marks=pytest.mark.full)])
def test_trials_with_other_batches_have_other_steps(tmp_path, parallel):
    """In lanes, too: batches of another size are another program, whose runs have lanes of their own."""
    search = f'sampler = "grid"\nfresh = 1\nparallel = "{parallel}"'
    found = searched(tmp_path, search=search)
    small, large = runs_of(found)
    assert [trial.steps for trial in found.trials()] == [12, 6]
    assert [one.config.train.steps for one in (small, large)] == [12, 6]
    assert [one.config.optimizer["lr"]["steps"] for one in (small, large)] == [12, 6]
    evaluated = [
        [row["step"] for row in read(one.folder / "metrics.jsonl") if "evaluation" in row] for one in (small, large)
    ]
    assert evaluated == [[6, 12], [3, 6]]
    (fresh,) = found.finish()
    assert fresh.config.train.epochs == 2 and fresh.result["step"] == found.winner.steps
    best = config.load(found.folder / "best.toml").train
    assert (best.steps, best.epochs, best.evaluate_every) == (None, 2, "epoch")
    assert found.finish()[0].result == fresh.result  # and nothing is run again
    assert (
        "2 epochs in batches of"
        in small_studies.write(found).trials[0].folder.parents[1].joinpath("report.html").read_text()
    )


def test_pruners_compare_at_the_same_epoch(tmp_path):
    found = searched(tmp_path, search='sampler = "grid"\nfresh = 0\npruner = "median"')
    known = [trial.intermediate_values for trial in found.claims.optuna_study.get_trials()]
    assert [list(values) for values in known] == [[1], [1]]  # the last epoch is judged by its score


def test_rungs_are_epochs(tmp_path):
    path = written(tmp_path, search='trials = 2\npruner = "hyperband"', length=["epochs = 9", *LENGTH[1:]])
    made = storage.pruner(config.load(path, table=Study))
    assert (made._min_resource, made._max_resource) == (1, 9)


@pytest.mark.full
def test_a_population_trains_for_epochs(tmp_path):
    search = 'trials = 2\nsampler = "population"\nfresh = 0'
    path = written(tmp_path, search, '"optimizer.lr.start" = { use = "log", low = 1e-3, high = 1e-1 }')
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    found = Tuning(config.load(path, table=Study), tmp_path / "out", "study.toml", "tune")
    assert [trial.steps for trial in found.trials()] == [6, 6]
    with pytest.raises(InputError, match="population.every: got 4; expected a multiple of train.evaluate_every = 3"):
        Tuning(config.load(path, ["search.population.every=4"], Study), tmp_path, "study.toml", "tune").require_valid()


@pytest.mark.parametrize(
    "length, search, space, message",
    [
        (["epochs = 2", "evaluate_every = 3", ""], 'trials = 2\npruner = "median"', BATCH, "search.pruner: trials are"),
        (["steps = 6", LENGTH[1], ""], 'trials = 2\npruner = "median"', BATCH, "expected train.epochs with"),
        (
            ["epochs = 2\nsteps = 6", *LENGTH[1:]],
            "trials = 2",
            BATCH,
            "train.steps = 6 and train.epochs = 2; expected one",
        ),
        (
            LENGTH,
            "trials = 2",
            '"train.steps" = { use = "int", low = 6, high = 9 }',
            "space.'train.steps' = .*: got train.steps = .* and train.epochs = 2; expected one of the two",
        ),
        (
            ["epochs = 2", "evaluate_every = 4", ""],
            'trials = 2\nparallel = "vmap"',
            small_studies.RATE.replace("learning_rate", "start"),
            "study.toml: .*expected a train.steps = 6 that is a multiple of train.evaluate_every = 4",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, length, search, space, message):
    path = written(tmp_path, search, space, length)
    with pytest.raises(InputError, match=f"(?s){message}"):
        Tuning(config.load(path, table=Study), tmp_path / "out", "study.toml", "tune").require_valid()


@pytest.mark.full
def test_optimizers_are_compared_by_epochs(tmp_path):
    text = written(tmp_path, 'trials = 1\nfresh = 2\nsampler = "random"').read_text()
    head, _, chain = text.partition("[optimizer.adam]")
    setup = "[task]" + head.partition("[task]")[2]
    links = ("[optimizer.adam]" + chain).replace("[optimizer.", "[optimizers.{0}.chain.")
    space = '\n[optimizers.{0}.space]\n"lr.start" = {{ use = "log", low = {1}, high = 1e-1 }}\n'
    contenders = [(links + space).format(name, low) for name, low in (("one", 1e-3), ("two", 1e-2))]
    path = tmp_path / "compare.toml"
    path.write_text("\n".join(["[search]\ntrials = 1\nfresh = 2", setup, *contenders]))
    assert main(["compare", str(path), "--out", str(tmp_path / "compared")]) == 0
    assert config.load(path, table=Comparison).train.epochs == 2
    assert "Every run 2 epochs in batches of 200 examples" in (tmp_path / "compared" / "report.html").read_text()
