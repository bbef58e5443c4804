"""Losses of an example: built in, or functions of (outputs, targets); and changes of the one that is trained on."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from optchain.lab.base.errors import InputError
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Fraction, Name, Table


class LossTable(Table):
    """Changes of any training loss; each that is left out is not made. What is evaluated is the plain loss."""

    mixup: NonNegativeFloat | None = None  # alpha of the Beta distribution of the shares of two examples
    cutmix: NonNegativeFloat | None = None  # the same of the areas of two images, of which one is pasted into the other
    l1: NonNegativeFloat | None = None  # times the sum of the penalized parameters' absolute values
    l2: NonNegativeFloat | None = None  # times half the sum of their squares
    penalized: str | list[str] = "*/kernel"  # patterns on paths

    @pydantic.model_validator(mode="after")
    def _mixed_in_one_way(self) -> "LossTable":
        if self.mixup is not None and self.cutmix is not None:
            raise ValueError("mixup and cutmix exclude each other; leave one out")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the tasks, of each of which it is a loss; none of a loss of one task."""
        return ()

    @property
    def penalizes(self) -> bool:
        """Whether there are penalties."""
        return self.l1 is not None or self.l2 is not None


class OwnLoss(LossTable):
    """What is said of a function of the user's, which gives a number for each example, or one for the batch.

    Its targets are as the data have them, and of classes their numbers. One that names its tasks gives a dict of such
    numbers, by task: what is trained on is their sum.
    """

    scaled_targets: bool = False  # whether real targets are scaled for training, as they are for a built-in loss
    tasks: list[Name] | None = None  # of whose losses it gives a dict; None if it is the loss of one

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.tasks or ())


class OfData(LossTable):
    """The loss that the data ask for: the cross entropy of classes, the squared error of real numbers."""

    use: Literal["data"] = "data"


class OfClasses(LossTable):
    """A loss of classes, from logits: one for each class, or one alone, that of the second of two.

    What is evaluated is the cross entropy, -log of the probability of the right class, whichever is trained on.
    """

    label_smoothing: Fraction | None = None  # of the target, shared among all classes
    class_weights: Literal["balanced"] | None = None  # each class as much as any other, by the training counts
    logit_adjustment: NonNegativeFloat | None = None  # times the log of each class's share, added to its logit
    ignored: NonNegativeInt | None = None  # the number of a class that does not count as a target, such as filling

    @pydantic.model_validator(mode="after")
    def _counts_are_of_all(self) -> "OfClasses":
        if self.ignored is not None and self.logit_adjustment is not None:
            raise ValueError("logit_adjustment needs the share of every class, and ignored leaves one out")
        return self

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The plain loss of each example."""
        if outputs.size == targets.size:
            each = optax.losses.sigmoid_binary_cross_entropy(outputs.reshape(targets.shape), targets)
        else:
            # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
            each = optax.losses.softmax_cross_entropy(outputs, jax.nn.one_hot(targets, outputs.shape[-1]))
        return self.mean_of_counted(each, targets)

    def mean_of_counted(self, values: jax.Array, targets: jax.Array) -> jax.Array:
        """The mean of each example's values at targets that count; 0 where none does."""
        if self.ignored is None:
            return mean_of_each(values)
        counted = (targets != self.ignored).reshape(len(values), -1)
        sums = jnp.sum(values.reshape(counted.shape), -1, where=counted)
        return sums / jnp.maximum(counted.sum(-1), 1)

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        """What is trained on, at each target.

        Args:
            log_likely: the logarithms of the classes' probabilities, along the last axis.
            wanted: the probabilities that they should have.
        """
        raise NotImplementedError

    @property
    def changes(self) -> list[str]:
        """What is asked for of the loss that is trained on."""
        names = ("label_smoothing", "focal", "class_weights", "logit_adjustment")
        return [name for name in names if getattr(self, name, None) is not None]


class CrossEntropy(OfClasses):
    """The cross entropy -sum_k q_k log p_k of the targets q and the probabilities p; with `focal` the terms are times
    (1 - p_k)^focal.

    References:
        Focal loss: Lin et al., 2017, arXiv:1708.02002.
    """

    use: Literal["cross_entropy"] = "cross_entropy"
    focal: NonNegativeFloat | None = None  # the power of 1 - probability by which sure examples weigh less

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        terms = wanted * log_likely
        if self.focal is not None:
            # As a power of what stays above 0, whose derivative is finite, and 1 where focal is a traced 0.
            terms = terms * jnp.exp(self.focal * jnp.log(jnp.maximum(1 - jnp.exp(log_likely), 1e-7)))
        return -terms.sum(-1)


class GeneralizedCrossEntropy(OfClasses):
    """(1 - p^q) / q of the probability p of the right class, which bears wrong labels: between the cross entropy, its
    limit for q = 0, and 1 - p at q = 1. Of targets that are smoothed it is the mean by their shares.

    Differs from the paper: nothing is pruned (its truncated loss).

    References:
        Zhang and Sabuncu, 2018, arXiv:1805.07836, the loss L_q.
    """

    use: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[float, Field(gt=0, le=1)] = 0.7

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        return (wanted * -jnp.expm1(self.q * log_likely)).sum(-1) / self.q

    @property
    def changes(self) -> list[str]:
        return ["q", *super().changes]


class SymmetricCrossEntropy(OfClasses):
    """alpha times the cross entropy -sum_k q_k log p_k and beta times the reverse one, -sum_k p_k log q_k, which bears
    wrong labels. The logarithm of a target of 0 counts as `log_zero`, and none counts as less.

    References:
        Wang et al., 2019, arXiv:1908.06112.
    """

    use: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    alpha: NonNegativeFloat = 0.1
    beta: NonNegativeFloat = 1.0
    log_zero: Annotated[float, Field(lt=0)] = -4.0  # A in the paper

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        log_wanted = jnp.maximum(jnp.log(jnp.maximum(wanted, jnp.finfo(wanted.dtype).tiny)), self.log_zero)
        forth, back = wanted * log_likely, jnp.exp(log_likely) * log_wanted
        return -(self.alpha * forth + self.beta * back).sum(-1)

    @property
    def changes(self) -> list[str]:
        return ["alpha", *super().changes]


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


OF_ONE: dict[str, type[Table]] = {
    "data": OfData,
    "cross_entropy": CrossEntropy,
    "generalized_cross_entropy": GeneralizedCrossEntropy,
    "symmetric_cross_entropy": SymmetricCrossEntropy,
    "squared": Squared,
    "absolute": Absolute,
    "huber": Huber,
    "quantile": Quantile,
}
AnyLossOfOne = Annotated[Any, Kinds("loss", OF_ONE, OwnLoss, 2, default="data", by_keys=True)]


class Heads(LossTable):
    """The sum of the losses of several targets, each answered by a head of the model."""

    use: Literal["heads"] = "heads"
    heads: dict[Name, AnyLossOfOne] = {}  # the loss of each target; what its data ask for where left out
    weights: dict[Name, NonNegativeFloat] = {}  # of each in the sum that is trained on; 1 where left out

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.heads)

    def each(self, outputs: Any, targets: Any) -> dict[str, jax.Array]:
        """The plain loss of each example, for each target."""
        return {name: Loss(table).of(outputs[name], targets[name]) for name, table in self.heads.items()}


LOSSES: dict[str, type[Table]] = OF_ONE | {"heads": Heads}
AnyLoss = Annotated[Any, Kinds("loss", LOSSES, OwnLoss, 2, default="data", by_keys=True)]


class Loss:
    """The loss of a configuration for a task.

    Args:
        table: of a kind that is built in, or of the user's.
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self.tasks: tuple[str, ...] = table.named  # whose losses `each` gives; none of a loss of one task
        one = self._own if isinstance(table, Own) else getattr(table, "of", self._sum)
        self.of: Callable[[Any, Any], jax.Array] = self._sum if self.tasks else one

    def each(self, outputs: Any, targets: Any) -> dict[str, jax.Array]:
        """The loss of each task, for each example or for the batch."""
        if not isinstance(self.table, Own):
            return self.table.each(outputs, targets)
        found = self.table.build(outputs, targets)
        if not isinstance(found, dict) or set(found) != set(self.tasks):
            got = f"losses of {', '.join(map(str, found))}" if isinstance(found, dict) else type(found).__name__
            raise InputError(f"gives {got}; expected a dict with a loss of each of loss.tasks: {', '.join(self.tasks)}")
        return {name: mean_of_each(jnp.asarray(found[name])) for name in self.tasks}

    def _sum(self, outputs: Any, targets: Any) -> jax.Array:
        return sum(self.each(outputs, targets).values(), jnp.zeros(()))

    def _own(self, outputs: Any, targets: Any) -> jax.Array:
        """What a function of the user's says, for each example or for the batch."""
        found = self.table.build(outputs, targets)
        if isinstance(found, dict):
            names = ", ".join(map(repr, found))
            raise InputError(f"gives a dict of losses; expected one, or their names in the table: tasks = [{names}]")
        return mean_of_each(jnp.asarray(found))


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
