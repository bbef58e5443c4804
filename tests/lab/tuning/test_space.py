import numpy as np
import optuna
import pydantic
import pytest
from pydantic import TypeAdapter
from scipy import stats

from optchain.lab.tuning import space
from optchain.lab.tuning.dimensions import AnyDimension
from optchain.lab.tuning.sampler import Seeded
from optchain.lab.tuning.tables import Search, Study


def dimensions(**tables):
    return {name: TypeAdapter(AnyDimension).validate_python(table) for name, table in tables.items()}


CONDITIONAL = dimensions(
    kind={"use": "choice", "values": {"adam": {"use": "adam"}, "sgd": {"use": "sgd"}}},
    b2={"use": "float", "low": 0.9, "high": 0.99, "points": 3, "when": {"kind": "adam"}},
    momentum={"use": "choice", "values": [0.0, 0.9], "when": {"kind": ["sgd"]}},
    rate={"use": "log", "low": 1e-4, "high": 1e-2, "points": 3},
)


def test_a_trial_has_the_dimensions_whose_conditions_hold():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        found = space.suggest(study.ask(), CONDITIONAL)
        assert set(found) == {"kind", "rate", "b2" if found["kind"] == "adam" else "momentum"}
    assert space.values({"kind": "adam", "rate": 1e-3}, CONDITIONAL) == {"kind": {"use": "adam"}, "rate": 1e-3}


def test_a_grid_has_every_point_once():
    points = space.grid(CONDITIONAL)
    assert len(points) == 3 * 3 + 2 * 3
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    np.testing.assert_allclose(sorted({point["rate"] for point in points}), [1e-4, 1e-3, 1e-2])
    assert space.along(dimensions(n={"use": "int", "low": 1, "high": 3, "points": 5})["n"]) == [1, 2, 3]


def test_samples_reach_every_choice_and_both_ends():
    found = list(space.samples(CONDITIONAL))
    assert {"kind": "adam", "b2": 0.9} in found and {"kind": "sgd", "momentum": 0.9} in found
    assert {"rate": 1e-4} in found and {"rate": 1e-2} in found


@pytest.mark.parametrize(
    ("table", "label", "side"),
    [
        ({"use": "log", "low": 1e-4, "high": 1e-2}, 1.1e-4, "lower"),
        ({"use": "log", "low": 1e-4, "high": 1e-2}, 1e-3, None),
        ({"use": "log", "low": 1e-4, "high": 1e-2}, 5e-3, None),  # near the end of a linear scale, not of this one
        ({"use": "int", "low": 1, "high": 8}, 8, "upper"),
        ({"use": "choice", "values": [0.1, 0.2, 0.4]}, 0.4, "upper"),
        ({"use": "choice", "values": [0.1, 0.2, 0.4]}, 0.2, None),
        ({"use": "choice", "values": [0.1, 0.2]}, 0.2, None),  # there is nothing between
        ({"use": "choice", "values": ["a", "b", "c"]}, "c", None),
        ({"use": "float", "low": 0.0, "high": 1.0, "step": 0.3}, 0.9, "upper"),
        ({"use": "log", "low": 5.0, "high": 70.0, "step": 8.0}, 8.0, "lower"),
        ({"use": "normal", "mean": 0.0, "deviation": 1.0}, 3.7, None),  # nothing ends there
        ({"use": "normal", "mean": 0.0, "deviation": 1.0, "high": 2.0}, 1.9, "upper"),
        ({"use": "normal", "mean": 0.0, "deviation": 1.0, "high": 2.0}, -3.7, None),
    ],
)
def test_values_at_the_end_of_a_range_are_noticed(table, label, side):
    found = space.edge(dimensions(x=table)["x"], label)
    assert (found is None) if side is None else f"{side} end" in found


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"use": "log", "low": 0.0, "high": 1.0}, "above 0"),
        ({"use": "float", "low": 1.0, "high": 1.0}, "not below"),
        ({"use": "choice", "values": [1, 1]}, "differ"),
        ({"use": "int", "low": 0, "high": 4, "log": True}, "above 0"),
        ({"use": "float", "low": 0.0, "high": float("inf")}, "finite"),
        ({"use": "float", "low": 0.0, "high": 1.0, "step": 2.0}, "step = 2 leaves fewer than two values from 0 to 1"),
        ({"use": "float", "low": 0.0, "high": 1.0, "step": 0.0}, "greater than 0"),
        ({"use": "int", "low": 1, "high": 8, "log": True, "step": 2}, "expected log or step"),
        ({"use": "log", "low": 8.0, "high": 64.0, "step": 8.0, "points": 3}, "points or a step"),
        ({"use": "normal", "mean": 0.0, "deviation": 0.0}, "greater than 0"),
        ({"use": "normal", "mean": 0.0, "deviation": 1.0, "low": 9.0}, "leave out all numbers"),
        ({"use": "normal", "mean": 0.0, "deviation": 1.0, "low": 1.0, "high": 0.0}, "leave out all numbers"),
        ({"use": "log_normal", "mean": 0.0, "deviation": 1.0, "low": -1.0}, "log-normal number is above 0"),
        ({"use": "log_normall"}, "did you mean 'log_normal'"),
    ],
)
def test_ranges_that_are_none_are_errors(table, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        dimensions(x=table)


KIND = {"use": "choice", "values": ["adam", "sgd"]}
RATE = {"use": "log", "low": 1e-4, "high": 1e-1, "path": "optimizer.learning_rate"}
BASE = {
    "task": {"use": "experiments.tasks.circles:circles", "validation": 200},
    "model": {"hidden": [8]},
    "train": {"steps": 10, "batch": 32},
    "optimizer": {"use": "adam", "learning_rate": 1e-3},
    "search": {"trials": 3},
    "space": {"optimizer.learning_rate": {"use": "log", "low": 1e-4, "high": 1e-1}},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {}}, "expected a budget"),
        ({"search": {"sampler": "grid"}}, "needs points"),
        ({"search": {"sampler": "grid", "trials": 3}}, "its own number"),
        ({"search": {"trials": 3, "lanes": 4}}, "search.lanes is for parallel = 'vmap'"),
        ({"search": {"trials": 3, "parallel": "ray", "lanes": 4}}, "is for parallel = 'vmap'; got 'ray'"),
        ({"search": {"trials": 3, "each": {"gpus": 1}}}, "search.each is for parallel = 'ray'; got 'none'"),
        ({"search": {"trials": 3, "parallel": "vmap", "workers": 2}}, "'processes' or 'ray'; got 'vmap'"),
        ({"search": {"trials": 3, "parallel": "ray", "each": {"cpus": 0}}}, "search.each.cpus\n"),
        ({"search": {"trials": 3, "parallel": "ray", "storage": "sqlite:///x"}}, "leave search.storage out"),
        ({"search": {"trials": 3, "parallel": "ray", "sampler": "population"}}, "leave out search.parallel"),
        ({"task": {"use": "experiments.tasks.circles:circles"}}, "judge the trials"),
        ({"space": {"x": {"use": "choice", "values": [1, 2], "when": {"y": 1}}}}, "does not come before it"),
        ({"space": {"train.seed": {"use": "int", "low": 0, "high": 9}}}, "a seed of its own; search.seeds"),
        ({"space": {"n": {"use": "int", "path": "task.validation", "low": 1, "high": 9}}}, "cannot be compared"),
        ({"space": {"a": RATE, "b": RATE}}, "'a' varies optimizer.learning_rate in the same trials"),
        (
            {"space": {"optimizer.learning_rate": RATE, "optimizer": {"use": "choice", "values": [{"use": "sgd"}]}}},
            "varies optimizer.learning_rate in the same trials; expected the table first",
        ),
        ({"space": {"y": KIND, "x": {"use": "choice", "values": [1, 2], "when": {"y": []}}}}, "one of no values"),
        ({"search": {"trials": 3, "parallel": "processes", "storage": "sqlite:///x"}}, "lock each other out"),
        (
            {
                "space": {
                    "y": KIND,
                    "x": {"use": "choice", "values": [1, 2], "when": {"y": "adamm"}},
                }
            },
            "did you mean 'adam'",
        ),
    ],
)
def test_studies_that_do_not_hold_together_are_errors(changes, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        Study.model_validate(BASE | changes)


def test_a_key_may_be_varied_by_dimensions_that_exclude_each_other():
    space = {"kind": {**KIND, "path": "optimizer.use"}} | {
        kind: RATE | {"when": {"kind": kind}} for kind in ("adam", "sgd")
    }
    Study.model_validate(BASE | {"space": space})
    # All conditions of a chain of them have to hold.
    x = {"use": "choice", "values": ["u", "v"], "when": {"kind": ["adam", "sgd"]}}
    deeper = {"kind": space["kind"], "x": x, "adam": RATE | {"when": {"kind": "adam", "x": "u"}}, "sgd": space["sgd"]}
    Study.model_validate(BASE | {"space": deeper})
    # One that depends on the other has its conditions too.
    space["sgd"] = RATE | {"when": {"adam": 1e-3}}
    with pytest.raises(pydantic.ValidationError, match="'adam' varies optimizer.learning_rate"):
        Study.model_validate(BASE | {"space": space})


def test_values_go_to_their_places_in_the_order_of_the_space():
    study = Study.model_validate(
        BASE
        | {
            "space": {
                "kind": {"use": "choice", "path": "optimizer", "values": {"sgd": {"use": "sgd", "learning_rate": 0.1}}},
                "rate": {"use": "float", "path": "optimizer.learning_rate", "low": 0.0, "high": 1.0},
            }
        }
    )
    found = study.config({"kind": {"use": "sgd", "learning_rate": 0.1}, "rate": 0.5}, {"seed": 3}, {"seed": 4})
    assert found.optimizer == {"use": "sgd", "learning_rate": 0.5}
    assert (found.task.seed, found.train.seed) == (3, 4)


STEPS = dimensions(
    momentum={"use": "float", "low": 0.1, "high": 0.95, "step": 0.2},
    batch={"use": "int", "low": 16, "high": 70, "step": 16},
    width={"use": "log", "low": 5.0, "high": 70.0, "step": 8.0},
)


def test_stepped_ranges_have_only_their_steps():
    assert space.along(STEPS["momentum"]) == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert space.along(STEPS["batch"]) == [16, 32, 48, 64]
    assert space.along(STEPS["width"]) == [8, 16, 24, 32, 40, 48, 56, 64]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {name: set() for name in STEPS}
    for _ in range(200):
        for name, label in space.suggest(study.ask(), STEPS).items():
            seen[name].add(label)
    assert {name: sorted(values) for name, values in seen.items()} == {n: space.along(d) for n, d in STEPS.items()}


def test_a_quantized_log_range_prefers_small_values():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.suggest(study.ask(), STEPS)["width"] for _ in range(400)]
    share = np.log(12 / 5) / np.log(70 / 5)  # what is rounded to 8, or lies below it
    assert np.mean(np.array(drawn) == 8) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("use", ["normal", "log_normal"])
@pytest.mark.parametrize("sampler", ["random", "quasi_random"])
def test_normal_numbers_have_their_distribution(use, sampler):
    normal = dimensions(x={"use": use, "mean": -2.0, "deviation": 0.5})
    study = optuna.create_study(sampler=Seeded(Search(trials=1, sampler=sampler)))
    drawn = []
    for _ in range(256):
        trial = study.ask()
        drawn.append(space.suggest(trial, normal)["x"])
        study.tell(trial, 0.0)
    numbers = np.log(drawn) if use == "log_normal" else drawn
    assert stats.kstest(numbers, stats.norm(-2.0, 0.5).cdf).pvalue > 0.01


def test_normal_numbers_are_cut_off_at_their_ends():
    (cut,) = dimensions(x={"use": "normal", "mean": 0.0, "deviation": 1.0, "low": -1.0, "high": 0.5}).values()
    assert cut.ends == (-1.0, 0.5) and (cut.place(-1.0), cut.place(0.5)) == (0, 1)
    expected = stats.truncnorm(-1.0, 0.5).ppf([0.1, 0.5, 0.9])
    np.testing.assert_allclose([cut.quantile(share) for share in (0.1, 0.5, 0.9)], expected, rtol=1e-9)
    grid = cut.model_copy(update={"points": 3}).along()
    np.testing.assert_allclose(grid, stats.truncnorm(-1.0, 0.5).ppf([1 / 6, 1 / 2, 5 / 6]), rtol=1e-9)


def test_what_optuna_stores_stands_for_the_value():
    tables = STEPS | dimensions(
        n={"use": "normal", "mean": 1.0, "deviation": 2.0}, rate={"use": "log_normal", "mean": -7.0, "deviation": 1.0}
    )
    point = {"momentum": 0.3, "batch": 48, "width": 24.0, "n": -0.5, "rate": 2e-3}
    found = space.labels(space.stored(point, tables), tables)
    assert found == pytest.approx(point, rel=1e-9)
    assert not STEPS["momentum"].holds(0.4) and STEPS["momentum"].holds(0.7) and not tables["rate"].holds(1.0)
