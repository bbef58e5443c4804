"""Losses of an example: built in, or functions of (outputs, targets); and changes of the one that is trained on."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, NonNegativeFloat, PositiveFloat

from optchain.lab.base.errors import InputError
from optchain.lab.models.class_losses import CrossEntropy, GeneralizedCrossEntropy, SymmetricCrossEntropy
from optchain.lab.models.loss_table import LossTable, mean_of_each
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Name, Table


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
