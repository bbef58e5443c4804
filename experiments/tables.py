"""The typed tables that configuration files are made of."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Discriminator, Field, NonNegativeInt, PositiveFloat, PositiveInt, Tag

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


class Table(pydantic.BaseModel):
    """A table of the file: unknown keys and values of another type are errors."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Task(Table):
    """What is learned, and how many of its examples are held out; the rest is for training."""

    use: Literal["circles", "digits", "embedding", "linear", "text"]
    seed: NonNegativeInt = 0  # of the split, so that runs with other training seeds see the same data
    validation: NonNegativeInt = 0  # examples; without any, the training examples are evaluated
    test: NonNegativeInt = 0
    folds: Annotated[int, Field(ge=2)] | None = None  # parts of what is not for the test, one of which validates
    fold: NonNegativeInt | None = None  # that part
    context: PositiveInt | None = None  # bytes that an example of text is made of

    examples: PositiveInt | None = None  # of a task that is generated, in all
    ids: PositiveInt | None = None  # that an embedding has a row for

    @pydantic.model_validator(mode="after")
    def _own_numbers(self) -> "Task":
        owners = {"context": "text", "examples": "embedding", "ids": "embedding"}
        for name, owner in owners.items():
            if (self.use == owner) != (getattr(self, name) is not None):
                wanted = f"needs {name}" if self.use == owner else f"takes no {name}, which is for {owner!r}"
                raise ValueError(f"task {self.use!r} {wanted}")
        if (self.folds is None) != (self.fold is None) or (self.fold or 0) >= (self.folds or 1):
            raise ValueError(f"folds = {self.folds} and fold = {self.fold}; wanted both, fold below folds, or neither")
        return self


class Model(Table):
    """A network: convolutions if any, then dense layers."""

    use: Literal["network"] = "network"
    channels: list[PositiveInt] = []  # of 3x3 convolutions, each followed by a 2x2 mean
    hidden: list[PositiveInt] = []  # widths of the dense layers before the last
    activation: Literal["gelu", "relu", "silu", "tanh"] = "relu"
    dropout: Fraction = 0.0  # after each hidden layer
    batch_norm: bool = False  # before each activation
    initializer: Literal["he", "lecun", "truncated_normal", "uniform", "xavier"] = "lecun"
    initializer_scale: PositiveFloat | None = None  # standard deviation, or half the width of the uniform

    @pydantic.model_validator(mode="after")
    def _scale_belongs(self) -> "Model":
        free = self.initializer in ("truncated_normal", "uniform")
        if free != (self.initializer_scale is not None):
            wanted = "needs an initializer_scale" if free else "takes no initializer_scale, its scale is the layer's"
            raise ValueError(f"initializer {self.initializer!r} {wanted}")
        return self


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


class Train(Table):
    """The loop."""

    steps: PositiveInt
    batch: PositiveInt
    seed: NonNegativeInt = 0  # of the initial parameters, the batches and dropout
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


class Config(Table):
    """A run. `optimizer` is a chain, link by link, as `optchain.from_config` takes it."""

    task: Task
    model: AnyModel
    train: Train
    optimizer: dict[str, Any]


def with_values(table: Any, numbers: dict[str, Any]) -> Any:
    """A table with other values, which are not checked, at some dotted keys."""
    for dotted, number in numbers.items():
        name, _, rest = dotted.partition(".")
        inner = getattr(table, name) if isinstance(table, Table) else table.get(name, {})
        new = {name: with_values(inner, {rest: number}) if rest else number}
        table = table.model_copy(update=new) if isinstance(table, Table) else table | new
    return table
