"""Training on inputs that are moved to deceive the model: which attack moves them, and how far."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from optchain.lab.data.task import Task
from optchain.lab.models.attacks import Losses, fgsm, pgd
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Table

Share = Annotated[float, Field(ge=0, le=1)]


class Adversary(Table):
    """What every attack has. All lengths are in the units of the prepared inputs, as in an examination."""

    eps: NonNegativeFloat  # how far each entry of an input may be moved
    low: float | None = None  # the least value that an entry may be moved to; the least training input if left out
    high: float | None = None  # the greatest; the greatest training input if left out

    @pydantic.model_validator(mode="after")
    def _low_is_below_high(self) -> "Adversary":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"got low = {self.low:g} and high = {self.high:g}; expected low below high")
        return self

    def ends(self, task: Task) -> tuple[Any, Any]:
        """The least and the greatest value that an entry may be moved to."""
        low, high = ends_of(task)
        return low if self.low is None else self.low, high if self.high is None else self.high

    def moved(self, losses: Losses, inputs: jax.Array, ends: tuple[Any, Any], key: jax.Array) -> jax.Array:
        """Inputs for which the loss of each example is high."""
        raise NotImplementedError


class Fgsm(Adversary):
    """One step along the sign of the gradient.

    References:
        Goodfellow et al., 2014, arXiv:1412.6572: a mean of the losses of inputs and of attacked inputs is trained on.
        Here each example is the one or the other; the expected loss is the same.
    """

    use: Literal["fgsm"] = "fgsm"
    share: Share = 1.0  # the chance of each example to be attacked; 1 - alpha in the paper

    def moved(self, losses: Losses, inputs: jax.Array, ends: tuple[Any, Any], key: jax.Array) -> jax.Array:
        return fgsm(losses, inputs, self.eps, *ends)


class Steps(Adversary):
    """What an attack of several steps has."""

    steps: PositiveInt = 7
    step_size: PositiveFloat = 0.25  # of eps: the length of a step
    restarts: PositiveInt = 1  # random places that it begins at, the worst of which counts

    def moved(self, losses: Losses, inputs: jax.Array, ends: tuple[Any, Any], key: jax.Array) -> jax.Array:
        return pgd(losses, inputs, self.eps, *ends, key, self.steps, self.step_size, restarts=self.restarts)


class Pgd(Steps):
    """Several steps along the sign of the gradient; what is trained on is the worst input that they met.

    Differs from the paper: the worst place of the way counts, which may be the input itself, and not the last one.

    References:
        Madry et al., 2017, arXiv:1706.06083, equations 1 and 2.
    """

    use: Literal["pgd"] = "pgd"
    random_start: bool = True  # whether it begins at a random place; else at the input
    share: Share = 1.0  # the chance of each example to be attacked

    @pydantic.model_validator(mode="after")
    def _restarts_differ(self) -> "Pgd":
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts = {self.restarts} would all be the same without random_start")
        return self

    def moved(self, losses: Losses, inputs: jax.Array, ends: tuple[Any, Any], key: jax.Array) -> jax.Array:
        own = self.steps, self.step_size, self.random_start, self.restarts
        return pgd(losses, inputs, self.eps, *ends, key, *own)


class Trades(Steps):
    """The loss of the inputs as they are, and `beta` times the divergence KL(p || q) of the probabilities p of the
    classes there from those at attacked inputs, q. The attack seeks the greatest divergence, not the greatest loss.

    References:
        Zhang et al., 2019, arXiv:1901.08573, equation 5 and algorithm 1; beta is 1 / lambda there.
    """

    use: Literal["trades"] = "trades"
    beta: NonNegativeFloat = 6.0


ADVERSARIES: dict[str, type[Table]] = {"fgsm": Fgsm, "pgd": Pgd, "trades": Trades}
AnyAdversary = Annotated[Any, Kinds("adversary", ADVERSARIES, otherwise=type(None))]


def ends_of(task: Task) -> tuple[float, float]:
    """The least and the greatest entry of the training inputs; of a stream those of the sample that is in memory."""
    inputs = np.asarray(task.splits["train"].inputs)
    return float(inputs.min()), float(inputs.max())


def is_smooth(task: Task) -> bool:
    """Whether the inputs are one array of real numbers, so that they have gradients."""
    inputs = task.splits["train"].inputs
    return isinstance(inputs, np.ndarray | jax.Array) and bool(jnp.issubdtype(inputs.dtype, jnp.floating))
