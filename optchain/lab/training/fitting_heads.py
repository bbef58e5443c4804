"""Whether heads, the losses of several tasks and the gradient of each fit together; see `fitting`."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.core.paths import nearest
from optchain.core.transform import takes
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models.class_losses import OfClasses

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment

Blamed = Callable[[Any], contextlib.AbstractContextManager[None]]


def require_logits(outputs: Any, targets: Any, classes: int) -> None:
    """A logit for each class and target, or of two classes one."""
    if outputs.shape == (*targets.shape, classes) or (classes == 2 and outputs.size == targets.size):
        return
    said = f"outputs {list(outputs.shape)} for targets {list(targets.shape)}"
    raise InputError(f"got {said} of {classes} classes; expected a logit for each class")


def require_losses(losses: Any, whose: str, two: Any) -> None:
    """The loss of a task is a number for each example, or for the batch where examples have no weights."""
    if losses.shape not in ((), (2,)) or (not losses.shape and two.weights is not None):
        raise InputError(f"gives {described(losses)} {whose}for two examples; expected one number for each")


def require_heads(task: Task, outputs: Any, targets: Any) -> None:
    """The model answers with a dict that has an output for each target, and no other."""
    heads, tables = task.heads or {}, task.loss.table.heads
    if not isinstance(outputs, dict):
        said = jax.tree.map(described, outputs)
        raise InputError(f"answers with {said}; expected a dict with the outputs of {', '.join(heads)}")
    for name in outputs:
        if name not in heads:
            raise InputError(f"answers with a head {name!r}, which the loss does not know; {nearest(name, heads)}")
    for name, head in heads.items():
        if name not in outputs:
            raise InputError(f"answers with no head {name!r}, which is a target; {nearest(name, outputs)}")
        if isinstance(tables[name], OfClasses):
            try:
                require_logits(outputs[name], targets[name], head.classes or 2)
            except InputError as error:
                raise InputError(f"head {name!r}: {error}") from None


def require_tasks(experiment: "Experiment", carry: Any, blamed: Blamed) -> None:
    """The loss is of several tasks, and the optimizer takes the gradient of each."""
    names = experiment.task.loss.tasks
    if not names:
        cure = "expected a dict of targets by name, or a loss of your own with loss.tasks"
        raise InputError(f"gradient.use: got 'tasks', and the loss is that of one task; {cure}")
    if oc.row_tables(experiment.tx):
        cure = "leave the gradient out, or take the optimizer without `rows`"
        raise InputError(f"gradient.use: the gradients of touched rows are not made for each task; {cure}")
    if not {"tasks", "examples"} & takes(experiment.tx):
        cure = "expected one that combines them, such as combine = { use = 'sum_tasks' }, before all others"
        raise InputError(f"optimizer: its first link does not take the gradients of {len(names)} tasks; {cure}")
    grads = jax.tree.map(lambda p: jax.ShapeDtypeStruct((len(names), *p.shape), p.dtype), carry["params"])
    told = {"value": 0.0, "validation": 0.0, "losses": jnp.zeros(len(names))}
    with blamed(experiment.config):
        place = experiment.layout.stepped
        step = lambda p, state, g: oc.apply(experiment.tx, g, state, place(p), **told)  # noqa: E731
        jax.eval_shape(step, carry["params"], carry["opt_state"], grads)


def described(x: Any) -> str:
    """A dtype and a shape, for errors."""
    return f"{x.dtype.name}{list(x.shape)}"
