"""What tracing one step takes and makes: Python calls and equations, which no load of the machine changes."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks import trees
from experiments.benchmarks.counts import Step

FOLDERS = {"optchain": Path(oc.__file__).parent, "optax": Path(optax.__file__).parent}
MORE = 100  # leaves beside the first: their mean is what each further one costs


@dataclasses.dataclass(frozen=True)
class Stepped:
    """A transformation, and `(params, state, grads) -> (params, state)` as its library's users write it.

    Not with `counts.chained` and `counts.plain`: an extra argument and the wrapper that takes it would be counted too.
    """

    tx: optax.GradientTransformation
    step: Step


def ours(tx: optax.GradientTransformation) -> Stepped:
    """Steps with `optchain.apply`."""
    return Stepped(tx, lambda params, state, grads: oc.apply(tx, grads, state, params))


def theirs(tx: optax.GradientTransformation) -> Stepped:
    """Steps with `update`, then `optax.apply_updates`."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return Stepped(tx, step)


def modules(count: int) -> dict[str, Any]:
    """So many modules with a small kernel each, and nothing else."""
    return {f"layer_{i}": {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32)} for i in range(count)}


def transformer() -> Any:
    """A transformer of 12 blocks with 147 leaves: the norm before the logits has no bias."""
    shapes = trees.gpt(layers=12, width=64, vocabulary=64, context=16)
    del shapes["norm"]["bias"]
    return shapes


def calls(stepped: Stepped, params: Any, folder: Path) -> int:
    """How many calls of Python functions in the files of a folder tracing a step makes, once caches are warm."""
    state, count, inside = jax.eval_shape(stepped.tx.init, params), 0, f"{folder}/"

    def note(frame: Any, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(inside)

    def trace() -> None:
        # A function that JAX has not seen, or the second step would not be traced at all.
        jax.eval_shape(lambda *args: stepped.step(*args), params, state, params)

    trace()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        trace()
    finally:
        sys.setprofile(before)
    return count


def equations(stepped: Stepped, params: Any) -> int:
    """How many equations the jaxpr of a step has, with those of the jaxprs inside it."""
    return _equations(jax.make_jaxpr(stepped.step)(params, jax.eval_shape(stepped.tx.init, params), params))


def _equations(x: Any) -> int:
    if isinstance(x, jax.extend.core.ClosedJaxpr):
        x = x.jaxpr
    if isinstance(x, jax.extend.core.Jaxpr):
        return len(x.eqns) + sum(_equations(value) for equation in x.eqns for value in equation.params.values())
    return sum(map(_equations, x)) if isinstance(x, (tuple, list)) else 0


def by_leaf(count: Callable[[Any], int]) -> dict[str, float]:
    """A count of a step on one leaf, and what each further leaf adds to it."""
    first = count(modules(1))
    return {"one leaf": first, "each further leaf": (count(modules(1 + MORE)) - first) / MORE}
