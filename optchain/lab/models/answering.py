"""What a trained model answers: outputs of the network as columns, and those of several models together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.data.standalone.answers import Answers, HeadAnswers
from optchain.lab.data.task import Task
from optchain.lab.models.class_losses import OfClasses
from optchain.lab.models.losses import Heads, Loss


def answers_of(loss: Loss, task: Task) -> Answers | HeadAnswers:
    """What becomes of outputs: the class and how probable it is, or numbers in their own units; by head if there are
    some."""
    if task.heads is None:
        return _answers_of(loss.table, task, task.labels, task.names)
    tables = {name: loss.table.heads[name] if isinstance(loss.table, Heads) else loss.table for name in task.heads}
    each = {name: _answers_of(tables[name], task, head.labels, (name,)) for name, head in task.heads.items()}
    return HeadAnswers(each)


def _answers_of(table: Any, task: Task, labels: Any, names: tuple[str, ...]) -> Answers:
    return Answers(
        labels=None if labels is None else np.asarray(labels).tolist(),
        logits=isinstance(table, OfClasses),
        names=list(names),
        mean=None if task.scale is None else np.asarray(task.scale.mean),
        deviation=None if task.scale is None else np.asarray(task.scale.deviation),
    )


def answers(loss: Loss, task: Task, outputs: Any) -> dict[str, np.ndarray]:
    """Columns with what outputs say."""
    return answers_of(loss, task)(outputs)


def together(loss: Loss, outputs: Any) -> Any:
    """What several models answer together, along the first axis: the logits of the mean of what they hold probable,
    where they answer with those of classes, else the mean of their outputs."""
    if isinstance(loss.table, Heads):
        return {name: together(Loss(table), outputs[name]) for name, table in loss.table.heads.items()}
    if not isinstance(loss.table, OfClasses):
        return jax.tree.map(lambda x: x.mean(0), outputs)
    if outputs.ndim > 2 and outputs.shape[-1] > 1:
        return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=0) - jnp.log(len(outputs))
    yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * outputs), axis=0) for sign in (1, -1))
    return yes - no
