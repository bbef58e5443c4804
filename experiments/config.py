"""The typed configuration of a run: a file, overrides from the command line, and errors that name the place."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Discriminator, Field, NonNegativeInt, PositiveFloat, PositiveInt, Tag

from experiments.errors import InputError

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Table(pydantic.BaseModel):
    """A table of the file: unknown keys and values of another type are errors."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Task(Table):
    """What is learned, and how many of its examples are held out; the rest is for training."""

    use: Literal["circles", "digits", "linear", "text"]
    seed: NonNegativeInt = 0  # of the split, so that runs with other training seeds see the same data
    validation: NonNegativeInt = 0  # examples; without any, the training examples are evaluated
    test: NonNegativeInt = 0
    context: PositiveInt | None = None  # bytes that an example of text is made of

    @pydantic.model_validator(mode="after")
    def _context_belongs(self) -> "Task":
        if (self.use == "text") != (self.context is not None):
            wanted = "needs a context" if self.use == "text" else "takes no context, which is for 'text'"
            raise ValueError(f"task {self.use!r} {wanted}")
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

    @pydantic.model_validator(mode="after")
    def _heads_divide(self) -> "Transformer":
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is no multiple of heads = {self.heads}")
        return self


MODELS = {"network": Model, "transformer": Transformer}


def _use(model: Any) -> str:
    """Which model a table, or what was made of it, describes."""
    return model.get("use", "network") if isinstance(model, dict) else getattr(model, "use", "network")


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
    model: Annotated[Annotated[Model, Tag("network")] | Annotated[Transformer, Tag("transformer")], Discriminator(_use)]
    train: Train
    optimizer: dict[str, Any]


def load(path: Path | str, sets: list[str] | None = None) -> Config:
    """The configuration of a TOML file, or of the `config.json` of a run, with overrides.

    Args:
        path: the file.
        sets: overrides, each `dotted.key=value`. A value is written as in TOML; what is not TOML is a string.

    Raises:
        InputError: naming the file, the dotted key, what was found, and the nearest valid name.
    """
    path, data = Path(path), _read(Path(path))
    for text in sets or []:
        _override(data, text)
    try:
        return Config.model_validate(data)
    except pydantic.ValidationError as error:
        overridden = [text.partition("=")[0].strip() + "." for text in sets or []]
        lines = []
        for found in error.errors():
            dotted = ".".join(map(str, _place(found)))
            source = (
                "--set"
                if any(f"{dotted}.".startswith(key) or key.startswith(f"{dotted}.") for key in overridden)
                else str(path)
            )
            lines.append(f"{source}: {dotted}: {_explained(found)}")
        raise InputError("\n".join(lines)) from None


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted keys, in order; a table that is empty is a value."""
    if not isinstance(config, dict) or (prefix and not config):
        return {prefix: config}
    return {
        key: x for name, sub in config.items() for key, x in flat(sub, f"{prefix}.{name}" if prefix else name).items()
    }


def differences(old: Config, new: Config) -> list[str]:
    """One line for each key whose value differs, or for another order of the links."""
    a, b = flat(old.model_dump()), flat(new.model_dump())
    lines = [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in dict.fromkeys([*a, *b])
        if key not in a or key not in b or a[key] != b[key]
    ]
    if [key for key in a if key in b] != [key for key in b if key in a]:
        lines += [f"optimizer: the links in the order {', '.join(old.optimizer)} -> {', '.join(new.optimizer)}"]
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        near = sorted(path.parent.glob("*.toml")) if path.parent.is_dir() else sorted(Path("configs").glob("*/*.toml"))
        there = f"; there are {', '.join(map(str, near))}" if near else ""
        raise InputError(f"{path}: {error.strerror}{there}") from None
    try:
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _override(data: dict[str, Any], text: str) -> None:
    dotted, equals, value = (part.strip() for part in text.partition("="))
    *parents, last = dotted.split(".")
    if not equals or not all([*parents, last]):
        raise InputError(f"--set {text}: wanted dotted.key=value, such as optimizer.lr.peak=1e-3")
    table = data
    for depth, name in enumerate(parents, 1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"--set {text}: {'.'.join(parents[:depth])} is {table!r}, no table")
    try:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = value


def _place(error: Any) -> tuple[Any, ...]:
    """The keys that lead to an error. Pydantic also says as which of `MODELS` it read the table."""
    place = error["loc"]
    if error["type"] == "union_tag_invalid":
        return *place, "use"
    return place[:1] + place[2:] if place[:1] == ("model",) else place


def _explained(error: Any) -> str:
    """What was found and what was wanted, in our words where pydantic's do not name the nearest."""
    from optchain.core.paths import nearest

    *parents, last = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        return f"unknown key; {nearest(str(last), _fields(parents))}"
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "literal_error":
        names = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"found {error['input']!r}; {nearest(str(error['input']), names)}"
    if error["type"] == "union_tag_invalid":
        return f"found {error['ctx']['tag']!r}; {nearest(error['ctx']['tag'], MODELS)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"found {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _fields(parents: list[Any]) -> list[str]:
    table: Any = Config
    for name in parents:
        table = MODELS.get(name) or table.model_fields[name].annotation
    return list(table.model_fields)
