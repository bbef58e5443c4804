"""Losses of an example: built in, or functions of (outputs, targets); and changes of the one that is trained on."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field, NonNegativeFloat, PositiveFloat

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.numbers import are_classes
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.standalone.answers import Answers
from optchain.lab.data.stream import Stream
from optchain.lab.data.task import Task
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Fraction, Table


class LossTable(Table):
    """Changes of any training loss; each that is left out is not made. What is evaluated is the plain loss."""

    mixup: NonNegativeFloat | None = None  # alpha of the Beta distribution of the shares of two examples
    l1: NonNegativeFloat | None = None  # times the sum of the penalized parameters' absolute values
    l2: NonNegativeFloat | None = None  # times half the sum of their squares
    penalized: str | list[str] = "*/kernel"  # patterns on paths

    @property
    def penalizes(self) -> bool:
        """Whether there are penalties."""
        return self.l1 is not None or self.l2 is not None


class OwnLoss(LossTable):
    """What is said of a function of the user's, which gives a number for each example, or one for the batch.

    Its targets are as the data have them, and of classes their numbers.
    """

    scaled_targets: bool = False  # whether real targets are scaled for training, as they are for a built-in loss


class OfData(LossTable):
    """The loss that the data ask for: the cross entropy of classes, the squared error of real numbers."""

    use: Literal["data"] = "data"


class CrossEntropy(LossTable):
    """-log of the probability of the right class, from logits: one for each class, or one alone, that of the second of
    two."""

    use: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction | None = None  # of the target, shared among all classes
    focal: NonNegativeFloat | None = None  # the power of 1 - probability by which sure examples weigh less
    class_weights: Literal["balanced"] | None = None  # each class as much as any other, by the training counts
    logit_adjustment: NonNegativeFloat | None = None  # times the log of each class's share, added to its logit

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The plain loss of each example."""
        if outputs.size == targets.size:
            return mean_of_each(optax.losses.sigmoid_binary_cross_entropy(outputs.reshape(targets.shape), targets))
        # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
        wanted = jax.nn.one_hot(targets, outputs.shape[-1])
        return mean_of_each(optax.losses.softmax_cross_entropy(outputs, wanted))

    @property
    def changes(self) -> list[str]:
        """What is asked for of the loss that is trained on."""
        names = ("label_smoothing", "focal", "class_weights", "logit_adjustment")
        return [name for name in names if getattr(self, name) is not None]


class _OfNumbers(LossTable):
    """A mean over an example's targets of what an error costs."""

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each example."""
        return mean_of_each(self._cost(alike(outputs, targets) - targets))

    def _cost(self, errors: jax.Array) -> jax.Array:
        raise NotImplementedError


class Squared(_OfNumbers):
    """The squared error."""

    use: Literal["squared"] = "squared"

    def _cost(self, errors: jax.Array) -> jax.Array:
        return jnp.square(errors)


class Absolute(_OfNumbers):
    """The absolute error, whose minimum is the median."""

    use: Literal["absolute"] = "absolute"

    def _cost(self, errors: jax.Array) -> jax.Array:
        return jnp.abs(errors)


class Huber(_OfNumbers):
    """The square of an error up to `bound`, and beyond it the tangent there: 2 bound |error| - bound^2."""

    use: Literal["huber"] = "huber"
    bound: PositiveFloat = 1.0

    def _cost(self, errors: jax.Array) -> jax.Array:
        small = jnp.clip(jnp.abs(errors), max=self.bound)
        return small * (2 * jnp.abs(errors) - small)


class Quantile(_OfNumbers):
    """`level` times how far an answer lies too low, 1 - `level` times how far too high: least at that quantile."""

    use: Literal["quantile"] = "quantile"
    level: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def _cost(self, errors: jax.Array) -> jax.Array:
        return jnp.maximum(-self.level * errors, (1 - self.level) * errors)


LOSSES: dict[str, type[Table]] = {
    "data": OfData,
    "cross_entropy": CrossEntropy,
    "squared": Squared,
    "absolute": Absolute,
    "huber": Huber,
    "quantile": Quantile,
}
AnyLoss = Annotated[Any, Kinds("loss", LOSSES, OwnLoss, 2, default="data", by_keys=True)]


class Loss:
    """The loss of a configuration for a task.

    Args:
        table: of a kind that is built in, or of the user's.
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self.of: Callable[[Any, Any], jax.Array] = self._own if isinstance(table, Own) else table.of

    def _own(self, outputs: Any, targets: Any) -> jax.Array:
        """What a function of the user's says, for each example or for the batch."""
        return mean_of_each(jnp.asarray(self.table.build(outputs, targets)))


def resolved(table: Any, examples: Examples | Stream) -> Any:
    """The table of the loss that is meant, where the data are to say it."""
    if not isinstance(table, OfData):
        return table
    name = examples.loss or ("cross_entropy" if are_classes(examples) else "squared")
    return LOSSES[name].model_validate(table.model_dump() | {"use": name})


def of_classes(table: Any, examples: Examples | Stream) -> bool:
    """Whether the targets become numbers of classes for a loss.

    Those of a function of the user's stay as they are where they are whole numbers that are no classes' from 0 on.
    """
    if not isinstance(table, Own):
        wanted, named = isinstance(table, CrossEntropy), examples.labels is not None
        kind = "" if named else np.asarray(examples.targets).dtype.kind
        if not wanted and (named or kind in "OSUb"):
            raise InputError(f"loss.use: got {table.use!r}, but the targets are classes; expected 'cross_entropy'")
        if wanted and kind == "f" and not np.all(np.mod(examples.targets, 1) == 0):
            raise InputError("loss.use: got 'cross_entropy', but the targets are real numbers; expected 'squared'")
        return wanted
    if isinstance(examples.targets, FileArray):  # which are numbers of labels
        return True
    targets = np.asarray(examples.targets)
    if targets.dtype.kind in "iu":
        return bool(np.array_equal(np.unique(targets), np.arange(targets.max() + 1)))
    return are_classes(examples)


def alike(outputs: Any, targets: Any) -> Any:
    """The outputs in the shape of the targets, of which there are as many."""
    if outputs.size != targets.size:
        raise InputError(
            f"model: outputs of shape {outputs.shape} for targets of shape {targets.shape}; expected as many numbers"
        )
    return outputs.reshape(targets.shape)


def mean_of_each(values: jax.Array) -> jax.Array:
    """The mean of each example's values; one number for each example stays what it is."""
    return values.reshape(len(values), -1).mean(-1) if values.ndim > 1 else values


def answers_of(loss: Loss, task: Task) -> Answers:
    """What becomes of outputs: the class and how probable it is, or numbers in their own units."""
    return Answers(
        labels=None if task.labels is None else np.asarray(task.labels).tolist(),
        logits=isinstance(loss.table, CrossEntropy),
        names=list(task.names),
        mean=None if task.scale is None else np.asarray(task.scale.mean),
        deviation=None if task.scale is None else np.asarray(task.scale.deviation),
    )


def answers(loss: Loss, task: Task, outputs: Any) -> dict[str, np.ndarray]:
    """Columns with what outputs say."""
    return answers_of(loss, task)(np.asarray(outputs))


def together(loss: Loss, outputs: jax.Array) -> jax.Array:
    """What several models answer together, along the first axis: the logits of the mean of what they hold probable,
    where they answer with those of classes, else the mean of their outputs."""
    if not isinstance(loss.table, CrossEntropy):
        return outputs.mean(0)
    if outputs.ndim > 2 and outputs.shape[-1] > 1:
        return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=0) - jnp.log(len(outputs))
    yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * outputs), axis=0) for sign in (1, -1))
    return yes - no
