"""Metrics: means over examples, numbers of a whole split, and evaluators that get the model."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models.losses import CrossEntropy, alike, mean_of_each
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Name, Table


class MetricTable(Table):
    """What is said of any metric."""

    better: Literal["higher", "lower"] | None = None  # of a function of the user's by which anything is chosen
    whole: bool = False  # whether it is of a whole split, and not the mean of what it is of each example

    is_higher: ClassVar[bool] = True  # whether a higher one is better, of those that are built in
    of_classes: ClassVar[bool | None] = None  # whether it is of classes or of numbers; either where it is None


class Accuracy(MetricTable):
    """The share of the examples whose class is the likeliest."""

    use: Literal["accuracy"] = "accuracy"
    of_classes: ClassVar[bool | None] = True

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of each example."""
        return mean_of_each((chosen(outputs, targets) == targets).astype(jnp.float32))


class TopK(MetricTable):
    """The share of the examples whose class is among the `k` likeliest."""

    use: Literal["top_k"] = "top_k"
    k: PositiveInt = 5
    of_classes: ClassVar[bool | None] = True

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of each example."""
        right = jnp.take_along_axis(outputs, targets[..., None], -1)
        return mean_of_each(((outputs > right).sum(-1) < self.k).astype(jnp.float32))


class F1(MetricTable):
    """The harmonic mean of precision and recall: of the second of two classes, or the mean over all of more."""

    use: Literal["f1"] = "f1"
    whole: bool = True
    of_classes: ClassVar[bool | None] = True

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of a split."""
        said = chosen(outputs, targets)
        count = 2 if outputs.size == targets.size else outputs.shape[-1]
        said, right = (jax.nn.one_hot(x.reshape(-1), count) for x in (said, targets))
        hits, all_said, all_right = (said * right).sum(0), said.sum(0), right.sum(0)
        scores = 2 * hits / jnp.maximum(all_said + all_right, 1)
        there = all_said + all_right > 0
        return scores[1] if count == 2 else jnp.where(there, scores, 0).sum() / jnp.maximum(there.sum(), 1)


class Auc(MetricTable):
    """How often an example of the second class gets a higher output than one of the first; 1/2 where they are equal.

    Of more classes it is the mean of each against the others.
    """

    use: Literal["auc"] = "auc"
    whole: bool = True
    of_classes: ClassVar[bool | None] = True

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of a split, by the ranks of the outputs (Mann and Whitney)."""
        if outputs.size == targets.size:
            return _ranked(outputs.reshape(-1), targets.reshape(-1) == 1)
        likely = jax.nn.softmax(outputs.reshape(-1, outputs.shape[-1]))
        if likely.shape[-1] == 2:
            return _ranked(likely[:, 1], targets.reshape(-1) == 1)
        return jnp.mean(jnp.stack([_ranked(likely[:, i], targets.reshape(-1) == i) for i in range(likely.shape[-1])]))


class AbsoluteError(MetricTable):
    """The absolute error, in the targets' own units."""

    use: Literal["absolute_error"] = "absolute_error"
    is_higher: ClassVar[bool] = False
    of_classes: ClassVar[bool | None] = False

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of each example."""
        return mean_of_each(jnp.abs(alike(outputs, targets) - targets))


class SquaredError(MetricTable):
    """The squared error, in the square of the targets' own units."""

    use: Literal["squared_error"] = "squared_error"
    is_higher: ClassVar[bool] = False
    of_classes: ClassVar[bool | None] = False

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of each example."""
        return mean_of_each(jnp.square(alike(outputs, targets) - targets))


class R2(MetricTable):
    """1 - the squared error over the variance: the share of the variance that is explained."""

    use: Literal["r2"] = "r2"
    whole: bool = True
    of_classes: ClassVar[bool | None] = False

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of a split; of several targets the mean."""
        outputs = alike(outputs, targets)
        left = jnp.square(outputs - targets).sum(0)
        return jnp.mean(1 - left / jnp.square(targets - targets.mean(0)).sum(0))


class Perplexity(MetricTable):
    """The exponential of the mean cross entropy."""

    use: Literal["perplexity"] = "perplexity"
    whole: bool = True
    is_higher: ClassVar[bool] = False
    of_classes: ClassVar[bool | None] = True

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Of a split."""
        return jnp.exp(CrossEntropy().of(outputs, targets).mean())


TAKEN = ("batch", "loss", "noise_scale", "optimizer", "rate_factor", "step")  # names in the logs
KINDS = (Accuracy, TopK, F1, Auc, AbsoluteError, SquaredError, R2, Perplexity)
METRICS: dict[str, type[Table]] = {kind.model_fields["use"].default: kind for kind in KINDS}


def _is_evaluator(target: Any) -> bool:
    return next(iter(inspect.signature(target).parameters), "") == "model"


# What is given: the model, inputs and targets, or outputs and targets.
AnyMetric = Annotated[Any, Kinds("metrics", METRICS, MetricTable, lambda target: 3 if _is_evaluator(target) else 2)]
AnyMetrics = dict[Name, AnyMetric]


class Metric(NamedTuple):
    """A metric of a configuration for a task."""

    of: Callable[[Any, Any], Any]  # of outputs and targets in their own units
    whole: bool
    sign: int | None  # -1 where a higher one is better, else 1; None if that is not said
    evaluator: Callable[[Any, Any, Any], Any] | None = None  # of the model, inputs and targets, outside of any program


def metrics_of(tables: dict[str, Any] | None, task: Task, loss: Any) -> dict[str, Metric]:
    """The metrics of a configuration, by name; the usual one of the task where it names none.

    Raises:
        InputError: a metric of classes for numbers or the other way around.
    """
    of_classes = task.labels is not None
    if tables is None:
        if isinstance(loss, Own) and not of_classes:
            return {}
        name = "accuracy" if of_classes else "absolute_error"
        tables = {name: METRICS[name].model_validate({"use": name})}
    return {name: _metric(name, table, task, of_classes) for name, table in tables.items()}


def _metric(name: str, table: Any, task: Task, of_classes: bool) -> Metric:
    if name in TAKEN or name.startswith("average_"):
        raise InputError(f"metrics.{name}: the logs have something else of this name; give the metric another one")
    if isinstance(table, Own) and isinstance(table, MetricTable):
        sign = None if table.better is None else -1 if table.better == "higher" else 1
        if _is_evaluator(table.placed.target):
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
            host = lambda *arrays: np.asarray(of(*map(np.asarray, arrays)), np.float32)  # noqa: E731
            return jax.pure_callback(host, shape, outputs, targets, vmap_method="sequential")

    return called


def chosen(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The likeliest class of each target."""
    if outputs.size == targets.size:
        return (outputs.reshape(targets.shape) > 0).astype(targets.dtype)
    return outputs.argmax(-1).astype(targets.dtype)


def _ranked(scores: jax.Array, positive: jax.Array) -> jax.Array:
    order = jnp.sort(scores)
    ranks = (jnp.searchsorted(order, scores, "left") + jnp.searchsorted(order, scores, "right") + 1) / 2
    many, few = positive.sum(), (~positive).sum()
    return ((ranks * positive).sum() - many * (many + 1) / 2) / (many * few)
