"""Models whose weights, and whose layers' answers, are changed at random in each step of training."""

import dataclasses
import zlib
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import pydantic
from pydantic import NonNegativeFloat

from optchain.core.paths import map_named, matches, names_of, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import Model
from optchain.lab.models.noisy import Noise, noisy
from optchain.lab.settings.table import Fraction, Table


class PerturbTable(Table):
    """What is changed at random in training; each that is left out is not."""

    drop: Fraction | None = None  # chance of each weight to be 0 in a step; the others are divided by that of staying
    weights: NonNegativeFloat | None = None  # standard deviation of what is added to each weight in a step
    paths: list[str] = ["*/kernel"]  # patterns on the parameters of which drop and weights are
    activations: NonNegativeFloat | None = None  # standard deviation of what is added to what layers answer
    layers: list[str] = []  # patterns on the paths of modules within the model, whose answers these are

    @pydantic.model_validator(mode="after")
    def _says_of_which_layers(self) -> "PerturbTable":
        if (self.activations is None) != (not self.layers):
            said, lacking = ("layers", "activations") if self.layers else ("activations", "layers")
            example = ", patterns on modules such as ['Dense_*']" if self.layers == [] else ""
            raise ValueError(f"{said} needs {lacking}{example}")
        return self


@dataclasses.dataclass(frozen=True)
class Perturbed:
    """A model that trains with weights :math:`(w + \\sigma n) m / (1 - d)`, where n is normal and m is 0 with the
    chance d, and with normal noise on the answers of some of its modules; all are drawn again in each step. What is
    evaluated is the model with its weights as they are.

    Differs from the paper: of DropConnect, a mask is that of the whole batch, where the paper draws one for each
    example; and evaluation takes the mean of the weights, where the paper draws the inputs of each unit from a normal
    distribution.

    References:
        DropConnect: Wan et al., 2013, Regularization of neural networks using DropConnect, ICML. Noise on weights: An,
        1996, The effects of adding noise during backpropagation training on a generalization performance, Neural
        Computation 8(3). Noise on activations: Poole et al., 2014, arXiv:1406.1831.
    """

    model: Model
    table: PerturbTable

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        params, rest = self.model.init(key, inputs, given)
        if self.table.drop is not None or self.table.weights is not None:
            _require_matches("paths", self.table.paths, "parameter", names_of(params))
        if self.table.layers:
            self._require_layers(params, rest, inputs, key)
        return params, rest

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        if not train or key is None:
            return self.model.apply(params, rest, inputs, key, train)
        params = map_named(lambda path, w: self._changed(key, path, w), params)
        if self.table.activations is None:
            return self.model.apply(params, rest, inputs, key, train)
        with noisy(Noise(self.table.layers, self.table.activations, key)):
            return self.model.apply(params, rest, inputs, key, train)

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(params, rest)

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        return self.model.names(inputs)

    def _changed(self, key: jax.Array, path: str, w: jax.Array) -> jax.Array:
        """A parameter as it is in this step."""
        table = self.table
        if not any(matches(path, pattern) for pattern in table.paths):
            return w
        noise, mask = jax.random.split(jax.random.fold_in(key, zlib.crc32(path.encode())))
        new = w
        if table.weights is not None:
            new = new + table.weights * jax.random.normal(noise, w.shape)
        if table.drop is not None:
            stays = 1 - table.drop
            new = jnp.where(jax.random.bernoulli(mask, stays, w.shape), new / stays, 0)
        return new.astype(w.dtype)

    def _require_layers(self, params: Any, rest: Any, inputs: Any, key: jax.Array) -> None:
        """Each pattern on layers matches a module, and what these answer can have noise."""
        noise = Noise(self.table.layers, self.table.activations, key)
        call = lambda: self.model.apply(params, rest, inputs, key, train=True)[0]  # noqa: E731
        jax.eval_shape(call)  # what fails here has nothing to do with noise
        try:
            with noisy(noise):
                jax.eval_shape(lambda: call())
        except (ValueError, TypeError, IndexError) as error:
            cure = "expected modules that are called one by one, not several as one by nnx.scan or nnx.vmap"
            raise InputError(f"perturb.layers: got {self.table.layers}; {cure}") from error
        _require_matches("layers", self.table.layers, "module", noise.paths)


def _require_matches(key: str, patterns: list[str], what: str, paths: Collection[str]) -> None:
    """Each pattern matches something."""
    for pattern in patterns:
        if not any(matches(path, pattern) for path in paths):
            raise InputError(f"perturb.{key}: {pattern!r} matches no {what}; {nearest(pattern, list(paths))}")
