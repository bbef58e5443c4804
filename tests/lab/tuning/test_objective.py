"""By which score a study judges, and whether higher is better."""

import pytest
import small_tasks

from optchain.lab.base.errors import InputError
from optchain.lab.models.measured import Metric
from optchain.lab.tuning.objective import objective
from optchain.lab.tuning.tables import Search


@pytest.fixture(scope="module")
def task():
    task = small_tasks.load("circles", validation=100)
    plain = Metric(lambda outputs, targets: outputs[:, 0], False, None)
    return task, plain, Metric(plain.of, True, -1, lambda model, inputs, targets: 0.0)


def judged(task, **search):
    loaded, unsaid, evaluator = task
    loaded.metrics.update(unsaid=unsaid, evaluator=evaluator)
    return objective(Search(trials=1, **search), loaded)


def test_the_direction_is_that_of_the_metric_or_said(task):
    assert judged(task)[:2] == ("loss", 1) and judged(task, objective="accuracy")[:2] == ("accuracy", -1)
    assert judged(task, objective="metric")[:2] == ("accuracy", -1)
    assert judged(task, objective="unsaid", direction="maximize")[:2] == ("unsaid", -1)
    assert judged(task, objective="evaluator")[:2] == ("evaluator", -1)


@pytest.mark.parametrize(
    "search, message",
    [
        ({"objective": "acuracy"}, "search.objective: got 'acuracy'; did you mean 'accuracy'?"),
        (
            {"objective": "unsaid"},
            "it is not said whether a higher unsaid is better; expected metrics.unsaid.better, or",
        ),
        (
            {"objective": "evaluator", "parallel": "vmap"},
            "evaluator gets the model, one run at a time; expected search.pa",
        ),
    ],
)
def test_what_cannot_judge_is_named(task, search, message):
    with pytest.raises(InputError) as error:
        judged(task, **search)
    assert message in str(error.value)
