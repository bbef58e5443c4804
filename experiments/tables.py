"""The typed tables that configuration files are made of."""

import itertools
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Discriminator, Field, NonNegativeInt, PositiveFloat, PositiveInt, Tag

from experiments.preprocess import AnyStep
from experiments.regularizers import Augment, Loss
from experiments.table import Fraction, Name, Table


class Task(Table):
    """What is learned, and how many of its examples are held out; the rest is for training."""

    use: Literal["circles", "digits", "embedding", "faces", "linear", "tabular", "text"]
    seed: NonNegativeInt = 0  # of the split, so that runs with other training seeds see the same data
    validation: NonNegativeInt = 0  # examples; without any, the training examples are evaluated
    test: NonNegativeInt = 0
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
                f"initializer {self.initializer!r} takes no initializer_gain; wanted its initializer_scale"
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


MODELS = {"embedding": Embedding, "network": Model, "transformer": Transformer}


def _use(model: Any) -> str:
    """Which model a table, or what was made of it, describes."""
    return model.get("use", "network") if isinstance(model, dict) else getattr(model, "use", "network")


AnyModel = Annotated[
    Annotated[Embedding, Tag("embedding")]
    | Annotated[Model, Tag("network")]
    | Annotated[Transformer, Tag("transformer")],
    Discriminator(_use),
]


class Train(Table):
    """The loop."""

    steps: PositiveInt
    batch: PositiveInt
    sampling: Literal["balanced", "epochs"] = "epochs"  # or as many rows of each class, drawn with replacement
    seed: NonNegativeInt = 0  # of the initial parameters, the batches, dropout and augmentation
    evaluate_every: PositiveInt = 100  # steps compiled as one loop; a last loop that is shorter is compiled apart
    checkpoint_every: PositiveInt | None = None  # steps, a multiple of evaluate_every; that itself if left out
    log_every: PositiveInt = 10  # steps between rows with the optimizer's metrics; the loss is logged at every step
    patience: PositiveInt | None = None  # evaluations without a lower loss after which the run stops at its best

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Train":
        if self.save_every % self.evaluate_every:
            raise ValueError(
                f"checkpoint_every = {self.checkpoint_every} is no multiple of evaluate_every = {self.evaluate_every}"
            )
        if self.steps * self.batch >= 2**31:
            raise ValueError(f"steps * batch = {self.steps * self.batch} examples; wanted fewer than 2**31")
        return self

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


class Contender(Table):
    """An optimizer of a comparison: a chain, and the values that are tried for some of its numbers."""

    chain: dict[str, Any]
    grid: dict[str, list[float]] = Field(min_length=1)  # by dotted key of the chain; each point of the product is tried

    @pydantic.model_validator(mode="after")
    def _values_differ(self) -> "Contender":
        for key, values in self.grid.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"grid.{key!r} = {values}; wanted one value or several that differ")
            table = self.chain
            for name in key.split(".")[:-1]:
                if not isinstance(table.get(name), dict):
                    raise ValueError(f"grid.{key!r}: the chain has no table {name!r}; it has {', '.join(table)}")
                table = table[name]
        return self

    @property
    def points(self) -> list[dict[str, float]]:
        """All combinations of the values."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


class Comparison(Setup):
    """Optimizers on one task, each tuned by as many runs as the others and then run anew with fresh seeds.

    The runs that tune have the seed of `train`, the fresh ones those that follow it.
    """

    seeds: Annotated[int, Field(ge=2)] = 5  # fresh seeds: fewer than two have no interval
    optimizers: dict[Name, Contender] = Field(min_length=2)

    @pydantic.model_validator(mode="after")
    def _is_fair(self) -> "Comparison":
        points = {name: len(contender.points) for name, contender in self.optimizers.items()}
        if len(set(points.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in points.items())
            raise ValueError(f"every optimizer is tuned by as many runs; the grids have {counts} points")
        if not self.task.validation:
            raise ValueError("the validation loss chooses the points; wanted a task.validation of at least 1")
        return self

    @property
    def count(self) -> int:
        """The runs in all."""
        return sum(len(contender.points) + self.seeds for contender in self.optimizers.values())

    def config(self, name: str, numbers: dict[str, float], seed: int) -> Config:
        """The configuration of one run of an optimizer."""
        optimizer = with_numbers(self.optimizers[name].chain, numbers)
        train = self.train.model_copy(update={"seed": seed})
        shared = {key: getattr(self, key) for key in Setup.model_fields}
        return Config(**shared | {"train": train, "optimizer": optimizer})


def with_numbers(table: Any, numbers: dict[str, Any]) -> Any:
    """A table with other values, which are not checked, at some dotted keys."""
    for dotted, number in numbers.items():
        name, _, rest = dotted.partition(".")
        inner = getattr(table, name) if isinstance(table, Table) else table.get(name, {})
        new = {name: with_numbers(inner, {rest: number}) if rest else number}
        table = table.model_copy(update=new) if isinstance(table, Table) else table | new
    return table
