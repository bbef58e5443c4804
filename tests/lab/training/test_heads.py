"""Several targets by name: heads of the model, the loss and the gradient of each, and what does not fit."""

import numpy as np
import pytest

from optchain import lab

CONFIG = {
    "task": {"use": "task.py:two", "validation": 16},
    "model": {"hidden": [4]},
    "train": {"steps": 4, "batch": 8, "evaluate_every": 2, "checkpoint_every": 4, "log_every": 1},
    "optimizer": {"adam": {"use": "scale_by_adam"}, "lr": {"use": "scale_by_learning_rate", "learning_rate": 0.1}},
}
TASK = """
import numpy as np
import flax.linen as nn
import jax.numpy as jnp
from optchain import lab

draw = np.random.default_rng(0)
x = draw.normal(size=(64, 3)).astype(np.float32)
KIND, SIZE = np.array(["a", "b", "c"])[np.arange(64) % 3], x[:, 0] * 2

def two(): return lab.Examples(x, {"kind": KIND, "size": SIZE})
def one(): return lab.Examples(x, KIND)
def named(): return lab.Examples(x, {"Kind!": KIND})
def unequal(): return lab.Examples(x, {"kind": KIND, "size": SIZE[:5]})

class Answers(nn.Module):
    heads: dict
    @nn.compact
    def __call__(self, x):
        return {name: nn.Dense(size)(x) for name, size in self.heads.items()}

class Alone(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)

def losses(outputs, targets):
    return {"near": jnp.square(outputs["size"][:, 0] - targets["size"]), "far": jnp.abs(outputs["kind"]).sum(1)}
"""
COMBINE = {"gradient": {"use": "tasks"}, "optimizer.combine": {"use": "sum_tasks", "tasks": ["kind", "size"]}}


@pytest.fixture
def config(tmp_path):
    (tmp_path / "task.py").write_text(TASK)

    def made(**changes):
        tables = {**CONFIG, "optimizer": dict(CONFIG["optimizer"])}
        if "combine" in changes:
            tables["optimizer"] = {"combine": changes.pop("combine"), **CONFIG["optimizer"]}
        return lab.Configuration(tables, {k.replace("__", "."): x for k, x in changes.items()}, folder=tmp_path)

    return made


def test_the_sum_of_the_gradients_of_tasks_is_that_of_the_loss(config, tmp_path):
    """With penalties, weights of the sum, and a change of one head's loss."""
    loss = {"l2": 0.1, "weights": {"size": 0.3}, "heads": {"kind": {"label_smoothing": 0.1}}}
    plain = config(loss=loss).train(tmp_path / "plain", quiet=True)
    combine = {"use": "sum_tasks", "tasks": ["kind", "size"]}
    run = config(loss=loss, gradient={"use": "tasks"}, combine=combine).train(tmp_path / "tasks", quiet=True)
    for split in ("train", "validation"):
        scores, expected = run.scores[split], plain.scores[split]
        assert set(scores) == {"loss", "absolute_error_size", "accuracy_kind", "loss_kind", "loss_size"}
        assert scores == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(scores["loss"], scores["loss_kind"] + scores["loss_size"], rtol=1e-5)
    answers = run.predict(np.zeros((2, 3), np.float32))
    assert list(answers) == ["kind", "kind_probability", "size"] and set(answers["kind"]) <= {"a", "b", "c"}
    text = (tmp_path / "tasks" / "metrics.jsonl").read_text()
    assert "combine.min_cosine" in text and "combine.weight_size" in text and '"loss_kind"' in text
    assert "agreement of tasks" in run.report().read_text()


def test_a_loss_of_ones_own_names_its_tasks(config, tmp_path):
    loss, model = {"use": "task.py:losses", "tasks": ["near", "far"]}, {"use": "task.py:Answers"}
    model["heads"] = {"kind": 3, "size": 1}
    combine = {"use": "dynamic_task_weights", "tasks": ["near", "far"], "every": 1}
    run = config(loss=loss, model=model, gradient={"use": "tasks"}, combine=combine).train(tmp_path / "run", quiet=True)
    scores = run.scores["validation"]
    np.testing.assert_allclose(scores["loss"], scores["loss_near"] + scores["loss_far"], rtol=1e-5)


TASKS, OWN = {"gradient": {"use": "tasks"}}, {"use": "task.py:losses"}
WRONG = {
    "one target": (
        TASKS | {"task__use": "task.py:one", "combine": {"use": "pcgrad"}},
        "gradient.use: got 'tasks', and the loss is that of one task; expected a dict of targets by name",
    ),
    "heads of one target": ({"task__use": "task.py:one", "loss": {"use": "heads"}}, "the task has one target"),
    "no combiner": (TASKS, "optimizer: its first link does not take the gradients of 2 tasks"),
    "no gradients": ({"combine": {"use": "pcgrad"}}, r"expected \[gradient\] use = 'tasks'"),
    "another number": (
        TASKS | {"combine": {"use": "pcgrad", "tasks": 3}},
        "pcgrad: leaf .* has the gradients of 2 tasks, expected 3",
    ),
    "one loss for several": ({"loss": {"use": "squared"}}, "loss.use: got 'squared' for several targets, kind, size"),
    "a head that is none": ({"loss": {"heads": {"knd": {}}}}, "loss.heads.knd: no such target; did you mean 'kind'"),
    "a weight of none": (
        {"loss": {"weights": {"sise": 1.0}}},
        "loss.weights.sise: no such target; did you mean 'size'",
    ),
    "a penalty of one head": ({"loss": {"heads": {"kind": {"l2": 1.0}}}}, "loss.heads.kind.l2: is of all targets"),
    "classes by error": ({"loss": {"heads": {"kind": {"use": "squared"}}}}, "the targets are classes"),
    "a model without heads": (
        {"model": {"use": "task.py:Alone"}},
        "answers with .*; expected a dict with the outputs of",
    ),
    "an unknown head": (
        {"model": {"use": "task.py:Answers", "heads": {"kind": 3, "size": 1, "more": 1}}},
        "answers with a head 'more', which the loss does not know",
    ),
    "a head too few": ({"model": {"use": "task.py:Answers", "heads": {"kind": 3}}}, "answers with no head 'size'"),
    "too few logits": (
        {"model": {"use": "task.py:Answers", "heads": {"kind": 2, "size": 1}}},
        "head 'kind': got outputs .* of 3 classes; expected a logit for each class",
    ),
    "a metric of no head": (
        {"metrics": {"right": {"use": "accuracy", "head": "sort"}}},
        "metrics.right.head: got 'sort'",
    ),
    "a loss without names": ({"loss": OWN}, "gives a dict of losses; expected one, or their names in the table: tasks"),
    "other names": (
        {"loss": OWN | {"tasks": ["near"]}},
        "gives losses of near, far; expected a dict with a loss of each",
    ),
    "a name of a target": ({"task__use": "task.py:named"}, "'Kind!' is not a valid name of a target"),
    "rows": ({"task__use": "task.py:unequal"}, "expected as many rows in each"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_an_error_that_says_what_does(config, case):
    changes, message = WRONG[case]
    with pytest.raises(lab.InputError, match=message):
        config(**changes).check()
