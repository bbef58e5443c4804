"""A race runs every optimizer on every task, resumes, and its judgement is the arithmetic that the page says."""

import math

import pytest
import small_runs

from experiments.__main__ import main
from experiments.race import judged, page
from experiments.race.measured import Entry, Fresh, Race, Raced, read
from experiments.race.tables import comparisons_of, merged

DOCS = small_runs.ROOT / "docs"
CONFIG = small_runs.ROOT / "configs" / "race" / "race.toml"
RACE = """
[search]
sampler = "quasi_random"
trials = 2
fresh = 2
parallel = "vmap"

[train]
steps = 40
batch = 16
evaluate_every = 10
checkpoint_every = 40

[tasks.circles]
task = { use = "experiments.tasks.circles:circles", validation = 100, test = 100 }
model = { hidden = [4] }

[tasks.wine]
task = { use = "experiments/tasks/tabular.py:Tabular", data = "wine", validation = 40, test = 40 }
model = { hidden = [8] }
optimizers.adamw.chain.weight_decay = 0.3

[optimizers.adamw]
space.learning_rate = { use = "log", low = 1e-3, high = 1e-1 }
chain = { use = "adamw", learning_rate = 1e-2 }

[optimizers.sgd]
space.learning_rate = { use = "log", low = 1e-7, high = 1e-6 }
chain = { use = "sgd", learning_rate = 1e-7 }

[optimizers.lion]
space.learning_rate = { use = "log", low = 1e-3, high = 1e-2 }
chain = { use = "lion", learning_rate = 1e-3 }
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "race.toml"
    path.write_text(RACE.replace('"experiments/', f'"{small_runs.ROOT}/experiments/'))
    return path


@pytest.mark.full
def test_a_race_is_run_judged_and_resumed(config, tmp_path, capsys):
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = ["race", "--config", str(config), "--out", str(out)]
    assert main([*arguments, "--docs", str(docs)]) == 0
    said = capsys.readouterr().out
    race = read(out / "race.json")
    assert list(race.tasks) == ["circles", "wine"] and judged.ranked(race)[-1] == "sgd"
    assert said.splitlines()[0].startswith("optimizer") and "report: " in said
    wine = race.tasks["wine"]
    assert {len(entry.trials) for entry in wine.entries.values()} == {2}
    assert {len(entry.fresh) for entry in wine.entries.values()} == {2}
    assert wine.entries["adamw"].bytes == pytest.approx(8, abs=0.5) and wine.entries["sgd"].bytes < 1
    assert wine.parameters == 13 * 8 + 8 + 8 * 3 + 3
    assert [step for step, _ in wine.entries["sgd"].fresh[0].curve] == [10, 20, 30, 40]
    assert read(docs / "race.json") == race and (docs / "race.md").read_text() == page.markdown(race)
    assert (out / "report.html").read_text().count("<svg") == 3
    # Nothing is run a second time, and a task may be raced alone.
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/result.json")}
    assert len(before) == 2 * 3 * (2 + 2)
    assert main([*arguments, "wine"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list(read(out / "race.json").tasks) == ["wine"]
    # Pages are made from the file alone.
    assert main(["race", "--from", str(docs / "race.json"), "--out", str(tmp_path / "again")]) == 0
    assert read(tmp_path / "again" / "race.json") == race


def test_what_a_task_says_stands_in_the_place_of_what_all_have(config):
    comparisons = comparisons_of(config, [], {})
    decays = [
        comparison.tables["optimizers"]["adamw"]["chain"].get("weight_decay") for comparison in comparisons.values()
    ]
    assert decays == [None, 0.3]
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": {"d": 3}}}) == {"a": {"b": 1, "c": {"d": 3}}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["win"], "no task 'win'; there are circles, wine"),
        (["--set", "search.trails=3"], "circles: search.trails: unknown key; did you mean 'trials'"),
        (["--from", "nowhere.json"], "nowhere.json: [Errno 2] No such file"),
    ],
)
def test_what_cannot_be_raced(config, tmp_path, capsys, arguments, message):
    assert main(["race", "--config", str(config), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_file_without_tasks(tmp_path, capsys):
    path = tmp_path / "race.toml"
    path.write_text(RACE.split("[tasks.circles]")[0])
    assert main(["race", "--config", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "no [tasks.NAME]" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["digits", "tabular", "faces", "text", "translate", "embedding"])
def test_every_task_of_the_configuration_can_be_built(task):
    (comparison,) = comparisons_of(CONFIG, [task], {}).values()
    assert len(comparison.tables["optimizers"]) == 14
    named = {name: comparison.tables["optimizers"][name] for name in ("muon", "soap")}  # whose parameters have names
    smaller = {"task.examples": 400, "task.validation": 40, "task.test": 40} if task == "translate" else {}
    comparison.changed({"optimizers": named} | smaller).check()


def entry(test, trials=(1.0,), curve=((10, 9.0),)):
    """An optimizer with these test losses, one for each seed; None for a run that diverged."""
    fresh = [Fresh(seed=i, validation=x, test=x, curve=list(curve)) for i, x in enumerate(test)]
    return Entry(best={"learning_rate": 0.1}, trials=list(trials), fresh=fresh, milliseconds=1.0, bytes=8.0)


def raced(**entries):
    return Raced(steps=20, batch=1, parameters=1, seconds=1.0, warnings=[], entries=entries)


def test_distances_count_from_the_best_to_the_middle():
    task = raced(a=entry([1.0, 1.0]), b=entry([2.0, 4.0]), c=entry([3.0, 5.0]), d=entry([40.0, 40.0]))
    assert judged.distances(task) == pytest.approx({"a": 0.0, "b": 2 / 2.5, "c": 3 / 2.5, "d": judged.CAP})
    lost = raced(a=entry([1.0, 1.0]), b=entry([2.0, 2.0]), c=entry([3.0, None]))
    assert judged.distances(lost) == pytest.approx({"a": 0.0, "b": 1 / 0.5, "c": judged.CAP})
    alike = raced(a=entry([1.0, 1.0]), b=entry([1.0, 1.0]), c=entry([3.0, 3.0]))
    assert judged.distances(alike) == pytest.approx({"a": 0.0, "b": 0.0, "c": 2.0})


def test_level_with_the_best_is_what_the_paired_interval_cannot_tell_apart():
    task = raced(a=entry([1.0, 2.0, 3.0]), b=entry([1.5, 2.6, 3.4]), c=entry([0.5, 3.0, 3.0]))
    assert judged.level_with_best(task) == {"a", "c"}


def test_the_chance_of_a_good_trial_is_that_of_drawing_one():
    task = raced(
        a=entry([1.0], trials=[1.0, 9.0, 9.0, None]),
        b=entry([1.0], trials=[2.0, 2.0, 9.0, 9.0]),
        c=entry([1.0], trials=[3.0, 9.0, 9.0, 9.0]),
    )
    chances = judged.chances(task)
    assert chances["a"] == pytest.approx([1 / 4, 1 / 2, 3 / 4, 1])
    assert chances["b"] == pytest.approx([1 / 2, 1 - 1 / 6, 1, 1])
    assert chances["c"] == [0, 0, 0, 0]


def test_the_profile_counts_the_tasks_within_a_factor_of_the_fewest_steps():
    slow = ((10, 9.0), (20, 2.0))
    fast = ((10, 1.0), (20, 1.0))
    task = raced(a=entry([1.0], curve=fast), b=entry([2.0], curve=slow), c=entry([9.0], curve=((20, 9.0),)))
    steps = judged.steps_to_target(task)
    assert steps == {"a": 10, "b": 20, "c": math.inf}
    assert judged.within({"one": steps, "two": dict.fromkeys("abc", math.inf)}, 1.0) == {"a": 0.5, "b": 0.0, "c": 0.0}
    assert judged.within({"one": steps}, 2.0) == {"a": 1.0, "b": 1.0, "c": 0.0}


def test_the_conclusion_names_what_cannot_be_told_apart():
    def of(*tests):
        names = ("adamw", "b", "c", "d", "e")
        return raced(**{name: entry([x, x]) for name, x in zip(names, tests, strict=True)})

    tasks = {
        "one": of(1.0, 1.2, 1.4, 3.0, 3.0),
        "two": of(1.2, 1.0, 1.6, 3.0, 3.0),
        "three": of(1.0, 1.1, 1.5, 3.0, 3.0),
    }
    race = Race(command="race", machine="here", tasks=tasks)
    assert judged.ranked(race)[:2] == ["adamw", "b"] and judged.level_with_first(race) == ["b"]
    assert page.conclusion(race).startswith("Begin with adamw") and "tell it apart from b." in page.conclusion(race)
    alone = Race(command="race", machine="here", tasks={name: of(1.0, 2.0, 2.1, 3.0, 3.0) for name in ("x", "y", "z")})
    assert "every other optimizer is farther" in page.conclusion(alone)


def test_a_run_that_diverged_is_told():
    race = Race(command="race", machine="here", tasks={"one": raced(adamw=entry([1.0, 1.0]), b=entry([2.0, None]))})
    assert [row["optimizer"] for row in page.losses(race)] == ["adamw", "b"]
    assert page.losses(race)[1]["one"] == "2.0000, 1 diverged *"


@pytest.mark.skipif(not (DOCS / "race.json").exists(), reason="the race has not been run")
def test_the_page_is_what_its_file_says():
    race = read(DOCS / "race.json")
    assert (DOCS / "race.md").read_text() == page.markdown(race)
    assert len(race.tasks) == 6 and {len(task.entries) for task in race.tasks.values()} == {14}
    for name in page.charts_of(race):
        assert (DOCS / "pictures" / f"{name}.svg").is_file()
