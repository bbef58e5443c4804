"""Full optimizers that search along their direction for a step that lowers the loss."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.boxes import named, put_as
from optchain.core.chain import Chain, automatic_name
from optchain.core.definition import Definition, Result
from optchain.core.gather import gathered, scattered
from optchain.core.lift import technique
from optchain.core.numbers import Number, whole
from optchain.core.routing import Given
from optchain.core.transform import Transform, ours, transform
from optchain.presets.arguments import documented
from optchain.presets.preset import preset
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Borrowed(Definition):
    """A transformation of optax, made of this definition's fields, which can be pickled and compared.

    State: `{name: {"optax": that of optax}}`.
    """

    mixes = True

    def made(self) -> Any:
        """optax's transformation."""
        raise NotImplementedError

    def received(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """The extra arguments that it takes."""
        return {}

    def begin(self, params: Any) -> dict[str, Any]:
        # Some numbers begin weakly typed there, and the first step's strong ones would be another trace; some arrays
        # stand there twice, and one buffer cannot be donated twice.
        return {"optax": jax.tree.map(lambda x: jnp.array(x, x.dtype), self.made().init(params))}

    def with_trees(self, state: Any, change: Callable[[Any], Any]) -> Any:
        """optax's state with other trees in the place of those whose arrays have other axes than the parameters."""
        return state

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        if not jax.tree.leaves(updates):  # of which optax's sums are not arrays
            return updates, state, {}
        closed = state[self.name]["optax"]
        old = self.with_trees(closed, lambda tree: put_as(updates, tree, updates))
        made = self.made().update(*everywhere((updates, old, params)), **self.received(given.extra))
        new, after = jax.tree.map(scattered, made, (updates, old))
        return new, {self.name: {"optax": jax.tree.unflatten(jax.tree.structure(closed), jax.tree.leaves(after))}}, {}


def everywhere(tree: Any) -> Any:
    """The arrays whole on every device: inner products run across all their axes."""
    return jax.tree.map(lambda x: gathered(x, 0), tree)


@dataclasses.dataclass(frozen=True)
class Directions(Borrowed):
    """The quasi-Newton directions of L-BFGS."""

    memory_size: int
    scale_init_precond: bool

    name = "scale_by_lbfgs"

    def made(self) -> Any:
        return optax.scale_by_lbfgs(self.memory_size, self.scale_init_precond)

    def begin(self, params: Any) -> dict[str, Any]:
        def after_steps(tree: Any) -> Any:
            return named(tree, params, lambda p: (None, *range(p.ndim)))

        return {"optax": self.with_trees(super().begin(params)["optax"], after_steps)}

    def with_trees(self, state: Any, change: Callable[[Any], Any]) -> Any:
        memories = ("diff_params_memory", "diff_updates_memory")
        return state._replace(**{name: change(getattr(state, name)) for name in memories})


@dataclasses.dataclass(frozen=True)
class LineSearch(Borrowed):
    """A line search of optax."""

    reads = ("value", "value_fn", "grad")

    def received(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        return {name: extra[name] for name in ("value", "value_fn")} | {"grad": everywhere(extra["grad"])}

    def begin(self, params: Any) -> dict[str, Any]:
        # optax asks the first leaf for its dtype; a tree of holes has none, and never makes a step.
        return super().begin(params if jax.tree.leaves(params) else jnp.zeros(()))


@dataclasses.dataclass(frozen=True)
class ZoomSearch(LineSearch):
    """The line search that satisfies the strong Wolfe conditions, where it can."""

    name = "scale_by_zoom_linesearch"

    def made(self) -> Any:
        return optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


@dataclasses.dataclass(frozen=True)
class GivenSearch(LineSearch):
    """A line search that the user made."""

    search: Any
    name: str

    def made(self) -> Any:
        return optax.with_extra_args_support(self.search)


@dataclasses.dataclass(frozen=True)
class SearchChain(Chain):
    """A chain that ends with a line search, which evaluates the loss itself."""

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_params(params)
        missing = [name for name in ("value", "value_fn") if given.extra.get(name) is None]
        if missing:
            cure = "call update(grads, state, params, value=loss(params), value_fn=loss)"
            raise ValueError(f"{self.name} searches for a step and lacks {' and '.join(missing)}: {cure}")
        grad = given.extra.get("grad", updates)
        return super().step(updates, state, params, given.with_extra(grad=grad))


ZOOM = transform(ZoomSearch())


@technique()
@preset
@documented(
    learning_rate="the first step that is tried along the direction, > 0, or without a search the step; None takes 1.",
    memory_size="how many of the last steps the estimate of the inverse Hessian is made of, at least 1.",
    scale_init_precond="begin that estimate with the curvature along the last step instead of 1.",
    linesearch="""a line search of optax, or None for none; left out, `optax.scale_by_zoom_linesearch` of at most 20
        evaluations of the loss for one step, which tries the whole step first.""",
)
def lbfgs(
    learning_rate: Number | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: optax.GradientTransformation | None = ZOOM,
) -> Transform:
    """L-BFGS with a line search: `optax.scale_by_lbfgs`, the learning rate, `optax.scale_by_zoom_linesearch`.

    It is for losses that are the same function at every step, such as that of all the data. `update` and `oc.apply`
    take the loss at the parameters as `value`, and as `value_fn` the function from any parameters to it, which gets
    them in float32 or wider; without a search neither is needed. What enters the chain is its gradient, or else that
    is given as `grad`.

    References:
        Liu and Nocedal, 1989, Algorithm 2.1. doi:10.1007/BF01589116

    >>> import jax
    >>> import optchain as oc
    >>> tx, p = oc.lbfgs(), jax.numpy.array([3.0, -4.0])
    >>> loss, state = lambda p: jax.numpy.sum(p**2), tx.init(p)
    >>> for _ in range(2):
    ...     value, grads = jax.value_and_grad(loss)(p)
    ...     p, state = oc.apply(tx, grads, state, p, value=value, value_fn=loss)
    >>> bool(loss(p) < 1e-6)
    True
    """
    whole("lbfgs", "memory_size", memory_size, 1)
    directions = transform(Directions(memory_size, scale_init_precond))
    downhill = {"descent": scale(-1.0)} if learning_rate is None else {"lr": scale_by_learning_rate(learning_rate)}
    links = {"lbfgs": directions, **downhill}
    if linesearch is None:
        return transform(Chain(tuple(links.items())))
    if not ours(linesearch):
        linesearch = transform(GivenSearch(linesearch, automatic_name(linesearch)))
    return transform(SearchChain((*links.items(), ("search", linesearch))))
