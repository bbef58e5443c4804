"""The typed tables that configuration files are made of."""

import abc
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Discriminator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Tag

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess import AnyStep
from optchain.lab.settings.regularizers import Augment, Loss
from optchain.lab.settings.table import Fraction, Name, Table


class Task(Table):
    """What is learned, and how many of its examples are held out; the rest is for training."""

    use: Literal["circles", "digits", "embedding", "faces", "linear", "tabular", "text"]
    seed: NonNegativeInt = 0  # of the split, so that runs with other training seeds see the same data
    validation: NonNegativeInt = 0  # examples; without any, the training examples are evaluated
    test: NonNegativeInt = 0
    folds: Annotated[int, Field(ge=2)] | None = None  # parts of what is not for the test, one of which validates
    fold: NonNegativeInt | None = None  # that part
    context: PositiveInt | None = None  # bytes that an example of text is made of

    examples: PositiveInt | None = None  # of a task that is generated, in all
    ids: PositiveInt | None = None  # that an embedding has a row for
    data: Literal["breast_cancer", "diabetes", "iris", "wine"] | None = None  # of the tabular task
    missing: Fraction = 0.0  # of the entries of a table, taken away

    @pydantic.model_validator(mode="after")
    def _own_numbers(self) -> "Task":
        owners = {"context": "text", "data": "tabular", "examples": "embedding", "ids": "embedding"}
        for name, owner in owners.items():
            if (self.use == owner) != (getattr(self, name) is not None):
                wanted = f"needs {name}" if self.use == owner else f"takes no {name}, which is for {owner!r}"
                raise ValueError(f"task {self.use!r} {wanted}")
        if (self.folds is None) != (self.fold is None) or (self.fold or 0) >= (self.folds or 1):
            raise ValueError(
                f"folds = {self.folds} and fold = {self.fold}; expected both, fold below folds, or neither"
            )
        if self.missing and self.use != "tabular":
            raise ValueError(f"task {self.use!r} takes no missing, which is for 'tabular'")
        return self


class Model(Table):
    """A network: convolutions if any, then dense layers."""

    use: Literal["network"] = "network"
    channels: list[PositiveInt] = []  # of 3x3 convolutions, each followed by a 2x2 mean
    hidden: list[PositiveInt] = []  # widths of the dense layers before the last
    depth: PositiveInt | None = None  # instead of hidden: so many dense layers before the last,
    width: PositiveInt | None = None  # all of this width
    activation: Literal["gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh"] = "relu"
    dropout: Fraction = 0.0  # after each hidden layer
    norm: Literal["batch", "layer", "none"] = "none"  # before each activation
    initializer: Literal["he", "lecun", "orthogonal", "truncated_normal", "uniform", "xavier"] = "lecun"
    initializer_scale: PositiveFloat | None = None  # standard deviation, or half the width of the uniform
    initializer_gain: PositiveFloat | None = None  # of the initializers whose scale is the layer's: times this

    @pydantic.model_validator(mode="after")
    def _scale_belongs(self) -> "Model":
        free = self.initializer in ("truncated_normal", "uniform")
        if free != (self.initializer_scale is not None):
            wanted = "needs an initializer_scale" if free else "takes no initializer_scale, its scale is the layer's"
            raise ValueError(f"initializer {self.initializer!r} {wanted}")
        if free and self.initializer_gain is not None:
            raise ValueError(
                f"initializer {self.initializer!r} takes no initializer_gain; expected its initializer_scale"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_way_to_say_the_widths(self) -> "Model":
        if (self.depth is None) != (self.width is None):
            given, other = ("width", "depth") if self.depth is None else ("depth", "width")
            raise ValueError(f"{given} = {getattr(self, given)} needs a {other}; or give the widths as hidden")
        if self.depth is not None and self.hidden:
            raise ValueError(f"hidden = {self.hidden} and depth = {self.depth} exclude each other")
        return self

    @property
    def widths(self) -> list[int]:
        """Of the dense layers before the last."""
        return self.hidden if self.depth is None or self.width is None else [self.width] * self.depth


class Transformer(Table):
    """A decoder-only transformer over bytes."""

    use: Literal["transformer"]
    layers: PositiveInt = 2
    width: PositiveInt = 64  # a multiple of heads
    heads: PositiveInt = 4
    dtype: Literal["bfloat16", "float32"] = "float32"  # in which the parameters are stored
    compute: Literal["bfloat16", "float32"] = "float32"  # in which outputs are computed; the loss is float32
    scan: bool = False  # one compiled layer, its parameters stacked
    norm: Literal["post", "pre"] = "pre"  # whether what a layer adds is normalized with the stream, or its input is

    @pydantic.model_validator(mode="after")
    def _heads_divide(self) -> "Transformer":
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is no multiple of heads = {self.heads}")
        return self


class Embedding(Table):
    """An embedding of ids, and dense layers over the rows of an example."""

    use: Literal["embedding"]
    width: PositiveInt = 16  # numbers in a row
    hidden: list[PositiveInt] = [64]  # widths of the dense layers before the last


def _use(model: Any) -> str:
    """Which model a table, or what was made of it, describes."""
    return model.get("use", "network") if isinstance(model, dict) else getattr(model, "use", "network")


AnyModel = Annotated[
    Annotated[Embedding, Tag("embedding")]
    | Annotated[Model, Tag("network")]
    | Annotated[Transformer, Tag("transformer")],
    Discriminator(_use),
]


class Batch(Table):
    """How many examples a step sees: a multiple of `micro`, whose gradients are computed one after the other."""

    micro: PositiveInt | None  # examples whose gradient is computed at once
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


def _batch(batch: Any) -> Any:
    """Which policy a batch follows, or `size` where it is only that."""
    return batch.get("use") if isinstance(batch, dict) else getattr(batch, "use", "size")


AnyBatch = Annotated[
    Annotated[PositiveInt, Tag("size")]
    | Annotated[Fixed, Tag("fixed")]
    | Annotated[RandomSizes, Tag("random")]
    | Annotated[Growing, Tag("growing")]
    | Annotated[NoiseScale, Tag("noise_scale")],
    Discriminator(_batch),
]


class EarlyStopping(Table):
    """Stop where the validation loss no longer falls."""

    patience: PositiveInt  # evaluations without a loss that is lower by more than min_delta
    min_delta: NonNegativeFloat = 0.0  # in the units of the loss
    restore_best: bool = True  # score and keep the models with the lowest loss, not the last ones


class Train(Table):
    """The loop."""

    steps: PositiveInt
    batch: AnyBatch  # examples a step, or a table that says how many
    sampling: Literal["balanced", "epochs"] = "epochs"  # or as many rows of each class, drawn with replacement
    seed: NonNegativeInt = 0  # of the initial parameters, the batches, dropout and augmentation
    evaluate_every: PositiveInt = 100  # steps compiled as one loop; a last loop that is shorter is compiled apart
    checkpoint_every: PositiveInt | None = None  # steps, a multiple of evaluate_every; that itself if left out
    log_every: PositiveInt = 10  # steps between rows with the optimizer's metrics; the loss is logged at every step
    early_stopping: EarlyStopping | None = None
    diverged_above: Annotated[float, Field(gt=1)] | None = None  # times the first loss, a chunk's mean: the run stops
    snapshots: list[PositiveInt] = []  # steps whose models are kept and averaged, such as the ends of cycles

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Train":
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
    def policy(self) -> Batch:
        """The table of the batch, also where only its size is given."""
        return self.batch if isinstance(self.batch, Batch) else Fixed(use="fixed", size=self.batch)

    @property
    def save_every(self) -> int:
        """Steps between checkpoints."""
        return self.checkpoint_every or self.evaluate_every


class Start(Table):
    """Another run whose parameters this one begins with; the optimizer's state is fresh."""

    run: str  # its folder
    only: list[str] = ["*"]  # patterns on paths of parameters and batch statistics
    exclude: list[str] = []


class Setup(Table):
    """What is learned from what by which model, and how: all of a run but its optimizer."""

    task: Task
    model: AnyModel
    train: Train
    preprocess: dict[Name, AnyStep] | None = None  # steps in their order; those of the task if left out
    augment: Augment = Augment()
    loss: Loss = Loss()
    start: Start | None = None


class Config(Setup):
    """A run. `optimizer` is a chain, link by link, as `optchain.from_config` takes it."""

    optimizer: dict[str, Any]


def with_values(table: Any, numbers: dict[str, Any]) -> Any:
    """A table with other values, which are not checked, at some dotted keys.

    Raises:
        InputError: a key leads into what is no table.
    """
    for dotted, number in numbers.items():
        name, _, rest = dotted.partition(".")
        if not isinstance(table, Table | dict):
            raise InputError(f"got {table!r}, in which there is no {dotted!r}")
        inner = getattr(table, name) if isinstance(table, Table) else table.get(name, {})
        new = {name: with_values(inner, {rest: number}) if rest else number}
        table = table.model_copy(update=new) if isinstance(table, Table) else table | new
    return table
