"""Metrics: means over examples, numbers of a whole split, and evaluators that get the model."""

import inspect
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import PositiveInt

from optchain.lab.models.class_losses import CrossEntropy
from optchain.lab.models.loss_table import mean_of_each
from optchain.lab.models.losses import alike
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Name, Table


class MetricTable(Table):
    """What is said of any metric."""

    better: Literal["higher", "lower"] | None = None  # of a function of the user's by which anything is chosen
    whole: bool = False  # whether it is of a whole split, and not the mean of what it is of each example
    head: Name | None = None  # of several targets the one that it is of; each that it fits if left out

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
            return ranked(outputs.reshape(-1), targets.reshape(-1) == 1)
        likely = jax.nn.softmax(outputs.reshape(-1, outputs.shape[-1]))
        if likely.shape[-1] == 2:
            return ranked(likely[:, 1], targets.reshape(-1) == 1)
        return jnp.mean(jnp.stack([ranked(likely[:, i], targets.reshape(-1) == i) for i in range(likely.shape[-1])]))


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


KINDS = (Accuracy, TopK, F1, Auc, AbsoluteError, SquaredError, R2, Perplexity)
METRICS: dict[str, type[Table]] = {kind.model_fields["use"].default: kind for kind in KINDS}


def is_evaluator(target: Any) -> bool:
    """Whether a function of the user's gets the model: its first parameter is called so."""
    return next(iter(inspect.signature(target).parameters), "") == "model"


# What is given: the model, inputs and targets, or outputs and targets.
AnyMetric = Annotated[Any, Kinds("metrics", METRICS, MetricTable, lambda target: 3 if is_evaluator(target) else 2)]
AnyMetrics = dict[Name, AnyMetric]


def chosen(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The likeliest class of each target."""
    if outputs.size == targets.size:
        return (outputs.reshape(targets.shape) > 0).astype(targets.dtype)
    return outputs.argmax(-1).astype(targets.dtype)


def ranked(scores: jax.Array, positive: jax.Array) -> jax.Array:
    """How often a positive score is above one that is not; 1/2 where they are equal."""
    order = jnp.sort(scores)
    ranks = (jnp.searchsorted(order, scores, "left") + jnp.searchsorted(order, scores, "right") + 1) / 2
    many, few = positive.sum(), (~positive).sum()
    return ((ranks * positive).sum() - many * (many + 1) / 2) / (many * few)
