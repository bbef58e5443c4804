"""One interface for the modules of flax.linen and of nnx: two pure functions."""

import dataclasses
import inspect
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from optchain.core.paths import map_named, named_leaves
from optchain.lab.base.errors import InputError
from optchain.lab.models.noisy import as_noisy

# What a module calls the argument that says whether it trains, and the value of it that means that it does.
MODES = {"train": True, "training": True, "is_training": True, "deterministic": False, "use_running_average": False}

FILTERS = (nnx.Param, nnx.RngState, nnx.Intermediate, nnx.Variable, ...)


class Model(Protocol):
    """A network as functions of its parameters and of the rest that it carries from step to step, such as statistics
    of batches."""

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        """The parameters and the rest before the first step.

        Args:
            key: from which all random numbers are drawn.
            inputs: of an example or of several.
            given: leaves of the module, by path, that stand in the place of those that it makes.
        """
        ...

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        """The outputs, the rest after it, and what the module itself adds to the loss.

        Args:
            params: parameters.
            rest: the rest.
            inputs: of a batch, as the task has them.
            key: from which all random numbers of the call are drawn; of no use unless it trains.
            train: whether it trains.
        """
        ...

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        """The parameters and the rest of the module itself."""
        ...

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        """The names that the module gives the axes of its parameters, by path, of those that have any."""
        ...


class _Call:
    """How a module is called: with all inputs or with their parts, by name or by place; and what tells it to train."""

    def __init__(self, module: Any) -> None:
        parameters = list(inspect.signature(type(module).__call__).parameters.values())[1:]
        modes = [p.name for p in parameters if p.name in MODES]
        if len(modes) > 1:
            raise InputError(f"model: {type(module).__name__} takes {' and '.join(modes)}; expected one of them")
        self.module, self.mode = module, modes[0] if modes else None
        kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        self.spread = any(p.kind in kinds for p in parameters)
        self.names = {p.name: p.default is p.empty for p in parameters if p.name not in MODES and p.kind not in kinds}

    def __call__(self, function: Callable[..., Any], inputs: Any, train: bool, **more: Any) -> Any:
        if self.mode is not None:
            more = more | {self.mode: train == MODES[self.mode]}
        if len(self.names) == 1 and not self.spread:
            return function(inputs, **more)
        if isinstance(inputs, dict):
            self._require_named(inputs)
            return function(**inputs, **more)
        return function(*inputs, **more) if isinstance(inputs, tuple | list) else function(inputs, **more)

    def _require_named(self, inputs: dict[str, Any]) -> None:
        unknown = [name for name in inputs if name not in self.names and not self.spread]
        lacking = [name for name, needed in self.names.items() if needed and name not in inputs]
        if unknown or lacking:
            has, takes = ", ".join(inputs), ", ".join(self.names)
            raise InputError(f"model: {type(self.module).__name__} takes {takes}; the inputs of the task are {has}")


@dataclasses.dataclass(frozen=True)
class Linen:
    """A module of flax.linen. Each of its collections but the parameters is carried; what it sows into `losses` is
    added to the loss."""

    module: nn.Module

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        def variables(key: jax.Array) -> Any:
            init = lambda *args, **more: self.module.init(_streams(key), *args, **more)  # noqa: E731
            return nn.meta.unbox(_Call(self.module)(init, inputs, True))  # what only training makes too

        made = variables(key)
        params = made.pop("params", {})
        rest = {name: x for name, x in made.items() if name not in ("losses", "intermediates")}
        # A collection that grows with every call, as one that is sown into, is nothing to be carried.
        after: Any = jax.eval_shape(lambda: self.apply(params, rest, inputs, key, train=True)[1])
        same = [name for name in rest if jax.tree.structure(after[name]) == jax.tree.structure(rest[name])]
        return _with(given, params), _with(given, {name: rest[name] for name in same})

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return params, rest

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        init = lambda *args, **more: self.module.init(_streams(jax.random.key(0)), *args, **more)  # noqa: E731
        made: Any = jax.eval_shape(lambda inputs: _Call(self.module)(init, inputs, True), inputs)
        return _named(nn.get_partition_spec(made.get("params", {})))

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        variables = {"params": params, **rest}
        call = _Call(self.module)
        if not train or key is None:
            apply = lambda *args, **more: self.module.apply(variables, *args, **more)  # noqa: E731
            return call(apply, inputs, train), rest, 0.0
        mutable = [*rest, "losses"]
        apply = lambda *args, **more: self.module.apply(  # noqa: E731
            variables, *args, rngs=_streams(key), mutable=mutable, **more
        )
        outputs, changed = call(apply, inputs, train)
        losses = jax.tree.leaves(changed.pop("losses", {}))
        return outputs, {**rest, **changed}, sum((jnp.sum(x) for x in losses), 0.0)


@dataclasses.dataclass(frozen=True)
class Nnx:
    """A module of flax.nnx, made anew in each trace by a function of `rngs`. What it holds beside variables, such as a
    number that is traced, is that function's business and is not carried."""

    make: Callable[[nnx.Rngs], nnx.Module]

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        _, _, params, _, _, rest, _ = self._parts(key, False)
        return _with(given, nnx.to_pure_dict(params)), _with(given, nnx.to_pure_dict(rest))

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return params, rest

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        made = nnx.eval_shape(lambda: self._made(jax.random.key(0)))
        return _named(nnx.to_pure_dict(nnx.get_partition_spec(nnx.split(made, nnx.Param, ...)[1])))

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        call, graph, own, keys, sown, variables, plain = self._parts(jax.random.key(0), train)
        nnx.replace_by_pure_dict(own, params)
        nnx.replace_by_pure_dict(variables, rest)
        if train and key is not None:
            keys = jax.tree.map_with_path(lambda path, x: _fresh(path, x, key), keys)
        module = as_noisy(nnx.merge(graph, own, keys, sown, variables, plain))
        outputs = call(module, inputs, train)
        after: Any = (
            nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, nnx.Variable, ...)[4] if train else variables
        )
        return outputs, nnx.to_pure_dict(after), 0.0

    def _made(self, key: jax.Array) -> nnx.Module:
        # Names of axes need no mesh here: the layout of the run places what is made.
        with nnx.use_eager_sharding(False):
            return self.make(nnx.Rngs(key))

    def _parts(self, key: jax.Array, train: bool) -> tuple[Any, ...]:
        module = self._made(key)
        module.train() if train else module.eval()
        return _Call(module), *nnx.split(module, *FILTERS)


def functional(made: Any) -> Model:
    """The functions of a linen module, or of a function of `rngs` that makes an nnx module.

    Raises:
        InputError: it is neither.
    """
    if isinstance(made, nn.Module):
        return Linen(made)
    if isinstance(made, nnx.Module):
        raise InputError(f"model: got a {type(made).__name__} of nnx; expected a function of rngs that makes one")
    if callable(made):
        make: Any = made
        return Nnx(make)
    raise InputError(
        f"model: got {made!r}; expected a module of flax.linen, or a function of rngs that makes one of nnx"
    )


def _with(given: dict[str, jax.Array] | None, tree: Any) -> Any:
    """A tree with the leaves that are given, by path."""
    return map_named(lambda path, x: given.get(path, x), tree) if given else tree


def _named(specs: Any) -> dict[str, tuple[Any, ...]]:
    """The specifications of parameters that name any axis, by path."""
    named = named_leaves(specs, is_leaf=lambda x: isinstance(x, jax.P))
    return {path: tuple(spec) for path, spec in named if isinstance(spec, jax.P) and any(spec)}


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    """The keys of a linen module; a stream of another name draws from that of the parameters."""
    return {"params": key, "dropout": jax.random.fold_in(key, 1)}


def _fresh(path: Any, x: jax.Array, key: jax.Array) -> jax.Array:
    """The key of a stream of nnx by its path, and its count, which begins anew with every step."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        own = jax.random.fold_in(key, zlib.crc32(jax.tree_util.keystr(path).encode()))
        return jax.random.split(own, x.shape) if x.shape else own  # of layers that are stacked
    return jnp.zeros_like(x)
