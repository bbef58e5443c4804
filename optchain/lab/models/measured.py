"""The metrics of a configuration for a task: of outputs and targets in their own units, by head if there are some."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Head, Task
from optchain.lab.models.losses import Loss, alike
from optchain.lab.models.metrics import METRICS, MetricTable, is_evaluator
from optchain.lab.settings.own import Own

TAKEN = ("batch", "loss", "noise_scale", "optimizer", "rate_factor", "step")  # names in the logs


class Metric(NamedTuple):
    """A metric of a configuration for a task."""

    of: Callable[[Any, Any], Any]  # of outputs and targets in their own units
    whole: bool
    sign: int | None  # -1 where a higher one is better, else 1; None if that is not said
    evaluator: Callable[[Any, Any, Any], Any] | None = None  # of the model, inputs and targets, outside of any program
    table: Any = None  # of the configuration; None of the loss of a task


def metrics_of(tables: dict[str, Any] | None, task: Task, loss: Loss) -> dict[str, Metric]:
    """The metrics of a configuration, by name; the usual one of the task where it names none.

    A built-in one of several targets is one of each that it fits, `accuracy_digit` and so on, unless it names its head.
    The plain losses of several tasks are metrics, too, `loss_digit` and so on.

    Raises:
        InputError: a metric of classes for numbers or the other way around, of no head of the task, or a name that
            something else has.
    """
    found: dict[str, Metric] = {}
    for name, table in (_usual(task, loss) if tables is None else tables).items():
        for full, metric in _of_table(name, table, task).items():
            if full in found:
                raise InputError(f"metrics.{name}: {full!r} is the name of two metrics; give one of them another")
            found[full] = metric._replace(table=table)
    for name in loss.tasks:
        if f"loss_{name}" in found:
            raise InputError(f"metrics.loss_{name}: is the loss of a task; give the metric another name")
        found[f"loss_{name}"] = Metric(functools.partial(_loss, loss, name), False, 1)
    return found


def _loss(loss: Loss, task: str, outputs: Any, targets: Any) -> Any:
    return loss.each(outputs, targets)[task]


def _usual(task: Task, loss: Loss) -> dict[str, Any]:
    """The metrics of a configuration that names none."""
    kinds = [head.labels is not None for head in task.heads.values()] if task.heads else [task.labels is not None]
    if isinstance(loss.table, Own):
        kinds = [of_classes for of_classes in kinds if of_classes]
    names = {"accuracy" if of_classes else "absolute_error" for of_classes in kinds}
    return {name: METRICS[name].model_validate({"use": name}) for name in sorted(names)}


def _of_table(name: str, table: Any, task: Task) -> dict[str, Metric]:
    """The metric of a table, or those of the heads that it is of, by name."""
    if name in TAKEN or name.startswith("average_"):
        raise InputError(f"metrics.{name}: the logs have something else of this name; give the metric another one")
    heads: dict[str, Head] = task.heads or {}
    head: str | None = table.head
    if head is not None and head not in heads:
        there = nearest(head, heads) if heads else "the task has one target; leave it out"
        raise InputError(f"metrics.{name}.head: got {head!r}; {there}")
    if isinstance(table, Own) or not heads or head is not None:
        one = _metric(name, table, task, (task if head is None else heads[head]).labels is not None)
        return {name: one if head is None else _of_head(one, head)}
    fits = [head for head, x in heads.items() if table.of_classes in (None, x.labels is not None)]
    if not fits:
        what = "classes" if table.of_classes else "numbers"
        raise InputError(f"metrics.{name}: {table.use!r} is of {what}, and none of the targets {', '.join(heads)} is")
    return {f"{name}_{x}": _of_head(_metric(name, table, task, heads[x].labels is not None), x) for x in fits}


def _of_head(metric: Metric, head: str) -> Metric:
    """The metric of the outputs of one head."""
    if metric.evaluator is not None:
        raise InputError(f"metrics: one that gets the model is of all heads; leave head = {head!r} out")
    return metric._replace(of=lambda outputs, targets: metric.of(outputs[head], targets[head]))


def _metric(name: str, table: Any, task: Task, of_classes: bool) -> Metric:
    if isinstance(table, Own) and isinstance(table, MetricTable):
        sign = None if table.better is None else -1 if table.better == "higher" else 1
        if is_evaluator(table.placed.target):
            return Metric(table.build, True, sign, _own_units(table.build, task))
        return Metric(_units(_host(table.build), task), table.whole, sign)
    kind: Any = table  # one that is built in
    if kind.of_classes is not None and kind.of_classes != of_classes:
        what = ("classes", "numbers") if of_classes else ("numbers", "classes")
        raise InputError(f"metrics.{name}: the targets are {what[0]}, and {kind.use!r} is of {what[1]}")
    return Metric(_units(kind.of, task), kind.whole, -1 if kind.is_higher else 1)


def _units(of: Callable[[Any, Any], Any], task: Task) -> Callable[[Any, Any], Any]:
    """The metric of outputs and targets in their own units."""
    scale = task.scale
    return of if scale is None else lambda outputs, targets: of(scale.own(alike(outputs, targets)), scale.own(targets))


def _own_units(of: Callable[..., Any], task: Task) -> Callable[..., Any]:
    """An evaluator whose model answers in the targets' own units."""
    scale = task.scale
    if scale is None:
        return of
    return lambda model, inputs, targets: of(lambda x: scale.own(model(x)), inputs, scale.own(targets))


def _host(of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A function that may take NumPy's arrays alone, such as scikit-learn's, called from within a program."""

    def called(outputs: Any, targets: Any) -> Any:
        try:
            return jnp.asarray(of(outputs, targets), jnp.float32)
        except jax.errors.JAXTypeError:
            shape = jax.ShapeDtypeStruct((), jnp.float32)
            host = lambda *arrays: np.asarray(of(*jax.tree.map(np.asarray, arrays)), np.float32)  # noqa: E731
            return jax.pure_callback(host, shape, outputs, targets, vmap_method="sequential")

    return called
