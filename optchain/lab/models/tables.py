"""The tables of the built-in models."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import PositiveFloat, PositiveInt

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Fraction, Table


class _Straight(Table):
    """A model without residual branches."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _has_no_branches(cls, data: Any) -> Any:
        if isinstance(data, dict) and "stochastic_depth" in data:
            raise ValueError("stochastic_depth leaves out residual branches, which a transformer has; leave it out")
        return data


class Network(_Straight):
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
    def _scale_belongs(self) -> "Network":
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
    def _one_way_to_say_the_widths(self) -> "Network":
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
    stochastic_depth: Fraction = 0.0  # chance that what the last layer adds is left out in training; less of lower ones

    @pydantic.model_validator(mode="after")
    def _heads_divide(self) -> "Transformer":
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is no multiple of heads = {self.heads}")
        return self


class Embedding(_Straight):
    """An embedding of ids, and dense layers over the rows of an example."""

    use: Literal["embedding"]
    width: PositiveInt = 16  # numbers in a row
    hidden: list[PositiveInt] = [64]  # widths of the dense layers before the last


MODELS: dict[str, type[Table]] = {"network": Network, "transformer": Transformer, "embedding": Embedding}
GIVEN = ("task", "rngs", "parent", "name")  # to a model of the user's, by the lab or by Flax
AnyModel = Annotated[Any, Kinds("model", MODELS, Table, GIVEN, ("outputs",), "network")]
