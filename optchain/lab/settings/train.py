"""The table `[train]`: the loop, and how many examples a step sees."""

import abc
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Fraction, Table


class Batch(Table):
    """How many examples a step sees: a multiple of `micro`, whose gradients are computed one after the other."""

    micro: Any  # examples whose gradient is computed at once, of those that are positive, or None
    scale_rate: Literal["linear", "none", "sqrt"] = "none"  # learning rates follow the size over `base`, or its root
    base: PositiveInt | None = None  # the size at which the learning rates are those of the configuration

    @pydantic.model_validator(mode="after")
    def _base_belongs(self) -> "Batch":
        if (self.scale_rate == "none") != (self.base is None):
            wanted = "takes no base" if self.base else "needs a base, the size for which the rate was chosen"
            raise ValueError(f"scale_rate = {self.scale_rate!r} {wanted}")
        return self

    @pydantic.model_validator(mode="after")
    def _is_whole(self) -> "Batch":
        for name, size in self.sizes_named().items():
            if self.micro and size % self.micro:
                raise ValueError(f"{name} = {size} is no multiple of micro = {self.micro}")
        return self

    @abc.abstractmethod
    def sizes_named(self) -> dict[str, int]:
        """The sizes that the table gives, by what they are called."""

    @property
    def largest(self) -> int:
        """No batch has more examples."""
        return max(self.sizes_named().values())

    def __str__(self) -> str:
        sizes = self.sizes_named().values()
        return str(self.largest) if len(sizes) == 1 else f"{min(sizes)} to {self.largest}"


class Fixed(Batch):
    """All batches have one size; without `micro` each is computed at once."""

    use: Literal["fixed"]
    size: PositiveInt
    micro: PositiveInt | None = None

    def sizes_named(self) -> dict[str, int]:
        return {"size": self.size}


class RandomSizes(Batch):
    """The size is drawn at each step."""

    use: Literal["random"]
    sizes: list[PositiveInt] = Field(min_length=2)
    micro: PositiveInt

    def sizes_named(self) -> dict[str, int]:
        return {f"sizes.{i}": size for i, size in enumerate(self.sizes)}


class Growing(Batch):
    """The size is a schedule of the step, rounded to a multiple of `micro`, from `micro` to `max`."""

    use: Literal["growing"]
    size: dict[str, Any]  # a schedule, as in a chain
    max: PositiveInt
    micro: PositiveInt

    def sizes_named(self) -> dict[str, int]:
        return {"micro": self.micro, "max": self.max}


class NoiseScale(Batch):
    """The size is the noise scale of the gradient, which is measured on the way."""

    use: Literal["noise_scale"]
    min: PositiveInt  # at least two of `micro`, for the noise is measured by how they differ
    max: PositiveInt
    micro: PositiveInt
    decay: Fraction = 0.99  # of the running means of the squared gradient and of its variance

    def sizes_named(self) -> dict[str, int]:
        return {"min": self.min, "max": self.max}

    @pydantic.model_validator(mode="after")
    def _can_measure(self) -> "NoiseScale":
        if not 2 * self.micro <= self.min <= self.max:
            raise ValueError(f"min = {self.min}; expected from 2 * micro = {2 * self.micro} to max = {self.max}")
        return self


BATCHES = {"fixed": Fixed, "random": RandomSizes, "growing": Growing, "noise_scale": NoiseScale}


AnyBatch = Annotated[Any, Kinds("batch", BATCHES, otherwise=PositiveInt)]


class EarlyStopping(Table):
    """Stop where the validation loss no longer falls."""

    patience: PositiveInt  # evaluations without a loss that is lower by more than min_delta
    min_delta: NonNegativeFloat = 0.0  # in the units of the loss
    restore_best: bool = True  # score and keep the models with the lowest loss, not the last ones


def _counted(value: Any) -> Any:
    if value != "epoch" and (type(value) is not int or value < 1):
        raise ValueError(f"got {value!r}; expected a number of steps from 1 on, or 'epoch'")
    return value


Steps = Annotated[Any, BeforeValidator(_counted)]


class Train(Table):
    """The loop."""

    steps: PositiveInt | None = None  # or epochs, of which they are computed when the examples are known
    epochs: PositiveInt | None = None  # each rounded up to whole batches
    batch: AnyBatch  # examples a step, or a table that says how many
    sampling: Literal["balanced", "epochs"] = "epochs"  # or as many rows of each class, drawn with replacement
    seed: NonNegativeInt = 0  # of the initial parameters, the batches, dropout and augmentation
    evaluate_every: Steps = 100  # steps compiled as one loop (a shorter last one is compiled apart), or "epoch"
    checkpoint_every: PositiveInt | None = None  # steps, a multiple of evaluate_every; that itself if left out
    log_every: PositiveInt = 10  # steps between rows with the optimizer's metrics; the loss is logged at every step
    early_stopping: EarlyStopping | None = None
    diverged_above: Annotated[float, Field(gt=1)] | None = None  # times the first loss, a chunk's mean: the run stops
    freeze: list[str] | None = None  # patterns on paths of parameters that are not trained; with [lora] all if left out
    compute: Literal["bfloat16", "float32"] = "float32"  # of the model; parameters and loss stay as they are
    remat: bool = False  # the backward pass computes the model's inside again and does not keep it: memory for time
    snapshots: list[PositiveInt] = []  # steps whose models are kept and averaged, such as the ends of cycles

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Train":
        if self.steps is None and self.epochs is None:
            raise ValueError("expected steps or epochs")
        if not self.is_in_steps or self.steps is None:  # checked again when they are known
            return self
        if self.save_every % self.evaluate_every:
            raise ValueError(
                f"checkpoint_every = {self.checkpoint_every} is no multiple of evaluate_every = {self.evaluate_every}"
            )
        if self.steps * self.policy.largest >= 2**31:
            raise ValueError(f"steps * batch = {self.steps * self.policy.largest} examples; expected fewer than 2**31")
        for i, step in enumerate(self.snapshots):
            if step > self.steps or (step % self.evaluate_every and step != self.steps):
                wanted = f"multiples of evaluate_every = {self.evaluate_every} up to steps = {self.steps}"
                raise ValueError(f"snapshots.{i} = {step}; expected {wanted}")
        return self

    @property
    def is_in_steps(self) -> bool:
        """Whether everything is a number of steps, so that the number of training examples is not needed."""
        return self.steps is not None and self.evaluate_every != "epoch"

    @property
    def last_step(self) -> int:
        """The number of steps, once it is known: see `in_steps`."""
        if self.steps is None:
            raise ValueError(f"got epochs = {self.epochs}; expected steps")
        return self.steps

    @property
    def is_in_epochs(self) -> bool:
        """Whether the length and the evaluations are counted in epochs."""
        return self.steps is None and self.evaluate_every == "epoch"

    @property
    def length(self) -> str:
        """How long it trains on how many examples at once, in words."""
        if self.steps is not None:
            return f"{self.steps} steps of {self.policy} examples"
        return f"{self.epochs} epochs in batches of {self.policy} examples"

    def in_steps(self, examples: int) -> "Train":
        """The table with the steps of its epochs, for a number of training examples.

        Raises:
            ValueError: batches have no common size, or the steps do not fit the rest of the table.
        """
        if self.is_in_steps:
            return self
        if len(set(self.policy.sizes_named().values())) > 1:
            key = "epochs" if self.steps is None else "evaluate_every"
            raise ValueError(f"{key}: batches of {self.policy} examples have no common size; expected numbers of steps")
        epoch = self.epoch(examples)
        steps = self.epochs * epoch if self.steps is None and self.epochs else self.steps
        every = min(epoch, steps or epoch) if self.evaluate_every == "epoch" else self.evaluate_every
        return type(self).model_validate(self.model_dump() | {"steps": steps, "evaluate_every": every})

    def epoch(self, examples: int) -> int:
        """The steps in which each of the training examples is seen, in whole batches of the largest size."""
        return -(-examples // self.policy.largest)

    @property
    def policy(self) -> Batch:
        """The table of the batch, also where only its size is given."""
        return self.batch if isinstance(self.batch, Batch) else Fixed(use="fixed", size=self.batch)

    @property
    def save_every(self) -> int:
        """Steps between checkpoints."""
        return self.checkpoint_every or self.evaluate_every
