"""Models whose initial parameters and learning rates follow from a smaller model: maximal update parametrization.

References:
    Yang et al., 2022, arXiv:2203.03466, Table 3.
"""

import dataclasses
import functools
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import pydantic
from pydantic import Field, PositiveInt

import optchain as oc
from optchain.core.paths import map_named
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import Model
from optchain.lab.settings.load import explained, put
from optchain.lab.settings.table import Table
from optchain.parametrization.base import Base, base_of

DRAWS = 8  # of the base model's parameters, over which the size of each leaf is measured


class MupTable(Table):
    """The base model, and what `optchain.mup` is told besides.

    The learning rates, decays and eps of the optimizer are those of the base model; so are the sizes of the initial
    parameters.
    """

    # Keys of [model], dotted where they are nested, with the values that the base model has.
    base: Annotated[dict[str, Any], Field(min_length=1)]
    kind: Literal["adam", "sgd"] | None = None  # found from the optimizer if left out
    query: list[str] | None = None  # patterns on the leaves that make queries
    zero: list[str] | None = None  # patterns on the leaves that begin at 0, such as the readout
    alpha: Annotated[float, Field(ge=0.5, le=1)] | None = None  # how residual branches scale with depth
    branch: list[str] | None = None  # patterns on the last leaves of residual branches
    blocks: list[str] | None = None  # patterns on the keys of blocks
    layers: dict[str, PositiveInt] = {}  # how many leading axes count layers, by pattern
    views: dict[str, str] = {}  # how leaves of more axes are seen as matrices, by pattern
    scale_eps: bool = True

    def checked(self, table: Any) -> "MupTable":
        """The same with the values that the model's table makes of those of the base model.

        Raises:
            ValueError: it has no such key, or the values do not fit together.
        """
        tables = table.model_dump()
        try:
            for key, value in self.base.items():
                put(tables, key.split("."), value, "mup.base")
            made = type(table).model_validate(tables).model_dump()
        except pydantic.ValidationError as error:
            raise ValueError(f"mup.base.{explained(error)}") from None
        except InputError as error:
            raise ValueError(str(error)) from None
        values = {key: functools.reduce(lambda x, name: x[name], key.split("."), made) for key in self.base}
        return self.model_copy(update={"base": values})

    def around(self, links: dict[str, Any], base: Any) -> dict[str, Any]:
        """The tables of an optimizer with the learning rates of each leaf's own; a wrapper stays outermost."""
        if isinstance(links.get("use"), str) and isinstance(links.get("tx"), dict):
            return links | {"tx": self.around(links["tx"], base)}
        named = {name: getattr(self, name) for name in ("kind", "query", "alpha", "branch", "blocks", "scale_eps")}
        made = {"use": "mup", "tx": links, "base": base} | {name: x for name, x in named.items() if x is not None}
        if self.views:
            made = {"use": "as_matrices", "tx": made, "views": self.views}
        return {"use": "over_layers", "tx": made, "layers": self.layers} if self.layers else made


@dataclasses.dataclass(frozen=True)
class Sized:
    """A model whose initial parameters have the sizes that follow from those of a base model."""

    model: Model
    base: Model
    table: MupTable

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        params, rest = self.model.init(key, inputs, given)
        drawn = jax.vmap(lambda key: self.base.init(key, inputs)[0])(jax.random.split(key, DRAWS))
        # Each entry is the root of a mean over draws, and so is the size of the leaf.
        drawn = jax.lax.optimization_barrier(drawn)  # else XLA draws again within every sum, and compiles for minutes
        base = jax.tree.map(lambda x: jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32)), 0)), drawn)
        links = {"lr": {"use": "scale_by_learning_rate", "learning_rate": 1.0}}
        sized = oc.mup_init(oc.from_config(self.table.around(links, base_of(base))), params, base, zero=self.table.zero)
        return map_named(lambda path, p, new: p if given and path in given else new, params, sized), rest

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        return self.model.apply(params, rest, inputs, key, train)

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(params, rest)

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        return self.model.names(inputs)


def base_shapes(base: Model, inputs: Any) -> Base:
    """The shapes of a base model's parameters, for inputs of an example."""
    return base_of(jax.eval_shape(lambda: base.init(jax.random.key(0), inputs)[0]))
