import json
import math
from types import SimpleNamespace

import pytest
import small_tasks

from experiments.claims.tables import Check
from experiments.claims.verdict import Arm, Finding, judged, require_scores, value, verdict
from optchain import lab


def made(folder, losses, accuracy=0.9, train=0.1):
    """Runs with these test losses; None is one that diverged."""
    runs = []
    for i, loss in enumerate(losses):
        path = folder / str(i)
        path.mkdir(parents=True)
        scores = {
            "train": {"parameters": {"loss": train, "accuracy": 1.0}},
            "test": {"parameters": {"loss": loss, "accuracy": accuracy}},
        }
        ending = "diverged" if loss is None else "finished"
        result = {"ending": ending, "step": 7, "scores": {} if loss is None else scores, "seconds": {"training": 2.0}}
        for name, content in (("config", {}), ("run", {}), ("result", result)):
            (path / f"{name}.json").write_text(json.dumps(content))
        runs.append(lab.Run(path))
    return runs


def arms(tmp_path, a, b):
    return {name: Arm(name, "", [made(tmp_path / name, losses)]) for name, losses in (("a", a), ("b", b))}


def check(relation, **keys):
    keys = ({"than": "b"} if relation not in ("above", "below") else {}) | keys
    return Check(says="", arm="a", relation=relation, **keys)


LOW, HIGH, WIDE = [1.0, 1.1, 0.9, 1.0], [2.0, 2.1, 1.9, 2.05], [0.0, 3.0, 1.0, 2.5]


@pytest.mark.parametrize(
    ("a", "b", "relation", "keys", "outcome"),
    [
        (LOW, HIGH, "lower", {}, "seen"),
        (HIGH, LOW, "lower", {}, "the contrary"),
        (WIDE, LOW, "lower", {}, "undecided"),
        (HIGH, LOW, "higher", {}, "seen"),
        (LOW, HIGH, "different", {}, "seen"),
        (WIDE, LOW, "different", {}, "undecided"),
        (LOW, LOW, "equal", {"margin": 0.01}, "seen"),
        (LOW, HIGH, "equal", {"margin": 0.5}, "the contrary"),
        (WIDE, LOW, "equal", {"margin": 0.5}, "undecided"),
        (LOW, LOW, "below", {"value": 1.5}, "seen"),
        (LOW, LOW, "above", {"value": 1.5}, "the contrary"),
        (WIDE, LOW, "below", {"value": 1.5}, "undecided"),
        (LOW[:1], HIGH[:1], "lower", {}, "undecided"),  # one seed has no interval
    ],
)
def test_a_check_is_judged_by_the_interval(tmp_path, a, b, relation, keys, outcome):
    assert judged(check(relation, **keys), arms(tmp_path, a, b)).outcome == outcome


def test_runs_are_paired_by_seed(tmp_path):
    """The spread between seeds is a hundred times the difference, which is the same for each."""
    a, b = [1.0, 5.0, 9.0], [1.1, 5.11, 9.09]
    found = judged(check("lower"), arms(tmp_path, a, b))
    assert found.outcome == "seen" and found.measured.mean == pytest.approx(-0.1)


def test_runs_that_diverged_are_left_out_and_counted(tmp_path):
    found = arms(tmp_path, [1.0, None, 1.1, 0.9], [2.0, 2.0, None, 2.1])
    assert judged(check("lower"), found).measured.mean == pytest.approx(-1.1)
    assert found["a"].diverged == 1 and math.isnan(found["a"].values("test loss")[1])
    assert judged(check("above", score="diverged", value=-1.0), found).measured.mean == 0.25


def test_scores_have_names(tmp_path):
    (run,) = made(tmp_path, [1.0])
    wanted = {"test loss": 1.0, "test accuracy": 0.9, "gap": 0.9, "steps": 7.0, "seconds": 2.0, "diverged": 0.0}
    assert {score: value(run, score) for score in wanted} == wanted
    study = SimpleNamespace(source="claim", task=small_tasks.load("circles", test=200))
    for score, message in (
        ("test acuracy", "got score 'test acuracy'; expected one of train loss, train accuracy, test loss, "),
        ("validation loss", "got score 'validation loss'"),  # there are no such examples
    ):
        with pytest.raises(lab.InputError, match=message):
            require_scores(SimpleNamespace(checks=[check("lower"), check("lower", score=score)]), "b", study)
    require_scores(SimpleNamespace(checks=[check("lower", score=score) for score in wanted]), "a", study)
    require_scores(SimpleNamespace(checks=[check("lower", score="validation loss")]), "of another task", study)


def test_a_verdict_counts_what_was_seen():
    def finding(outcome):
        return Finding(check("lower"), None, outcome)

    seen, not_seen = finding("seen"), finding("undecided")
    assert verdict([seen, seen]) == "holds"
    assert verdict([seen, not_seen]) == "holds in part"
    assert verdict([not_seen, finding("the contrary")]) == "does not hold"


def test_studies_are_averaged_before_they_are_paired(tmp_path):
    studies = [made(tmp_path / str(i), [i, i + 1.0, None]) for i in range(3)]
    assert Arm("a", "", studies).values("test loss") == [0.5, 1.5, 2.5]


def test_a_difference_beyond_another(tmp_path):
    losses = {"a": [1.0, 1.1, 0.9], "b": [3.0, 3.2, 2.8], "c": [1.0, 1.0, 1.0], "d": [1.5, 1.6, 1.4]}
    compared = {name: Arm(name, "", [made(tmp_path / name, x)]) for name, x in losses.items()}
    found = judged(check("lower", beyond=["c", "d"]), compared)
    expected = [(a - b) - (c - d) for a, b, c, d in zip(*losses.values(), strict=True)]
    assert found.measured == lab.interval(expected) and found.outcome == "seen"
    assert judged(check("higher", beyond=["c", "d"]), compared).outcome == "the contrary"


@pytest.mark.parametrize("keys", [{"beyond": ["c"]}, {"beyond": ["c", "d"], "relation": "below", "value": 1.0}])
def test_what_is_beyond_takes_two_arms_and_another_two(keys):
    with pytest.raises(ValueError, match="beyond names two arms"):
        check(**({"relation": "lower"} | keys))
