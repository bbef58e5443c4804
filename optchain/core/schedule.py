"""What a schedule is: a pure function of the step, with its numbers as data."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.describe import shown
from optchain.core.rule import bind, ranges


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number for each step: call it with a step (0 before the first update), or with an array of steps to plot it.

    Its arguments are pytree leaves, so that they may be traced, compared, printed and pickled.
    """

    maker: Callable[..., "Schedule"] = dataclasses.field(metadata={"static": True})
    arguments: dict[str, Any]

    def __call__(self, step: Any) -> jax.Array:
        step = jnp.asarray(step).astype(jnp.float32)
        return jnp.asarray(self.maker.law(step, **self.arguments), jnp.float32)  # pyright: ignore

    def __str__(self) -> str:
        return f"{self.maker.__name__}({', '.join(f'{name}={shown(x)}' for name, x in self.arguments.items())})"


def schedule(law: Callable[..., Any]) -> Callable[..., Schedule]:
    """Make a law, a function of the step and some numbers, a public function of the numbers that returns a schedule.

    The law's first argument is the step as float32, of any shape; numeric arguments are annotated with their range as
    the fields of a rule are.
    """
    _, *parameters = inspect.signature(law).parameters.values()
    # Without annotations, help() shows the arguments and their defaults and no type aliases.
    signature = inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters])
    allowed = ranges(law)

    @functools.wraps(law)
    def make(*args: Any, **kwargs: Any) -> Schedule:
        return Schedule(make, bind(law.__name__, signature, allowed, args, kwargs))

    make.law = law  # pyright: ignore
    make.__signature__ = signature  # pyright: ignore
    return make
