import numpy as np
import optuna
import pydantic
import pytest
from pydantic import TypeAdapter

from optchain.lab.tuning import space
from optchain.lab.tuning.dimensions import AnyDimension
from optchain.lab.tuning.tables import Study


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
