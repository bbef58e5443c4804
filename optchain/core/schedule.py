"""What a schedule is: a pure function of the step, with its numbers as data."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optchain.core.describe import shown
from optchain.core.numbers import bind, checked, ranges
from optchain.core.registry import SCHEDULE, Registered, register


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A number for each step: call it with a step (0 before the first update), or with an array of steps to plot it.

    Its arguments are pytree leaves, so that they may be traced, compared, printed and pickled; any of its numbers may
    be a schedule again. The value is float32, whole steps are exact up to 2**24.
    """

    maker: Callable[..., "Schedule"] = dataclasses.field(metadata={"static": True})
    arguments: dict[str, Any]

    def __call__(self, step: Any) -> jax.Array:
        step = jnp.asarray(step).astype(jnp.float32)
        law = self.maker.law  # pyright: ignore
        arguments = {name: _at(step, x) if name in law.numbers else x for name, x in self.arguments.items()}
        return jnp.broadcast_to(jnp.asarray(law(step, **arguments), jnp.float32), step.shape)

    def __repr__(self) -> str:
        # A pytree's dict comes back with sorted keys; the signature knows the order that was written.
        names = inspect.signature(self.maker).parameters
        return f"{self.maker.__name__}({', '.join(f'{name}={shown(self.arguments[name])}' for name in names)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule) or jax.tree.structure(self) != jax.tree.structure(other):
            return False
        return all(
            a is b or (known(a, b) and np.array_equal(a, b))
            for a, b in zip(jax.tree.leaves(self), jax.tree.leaves(other), strict=True)
        )

    def __hash__(self) -> int:
        # Numbers may be arrays, which have no hash: equal schedules need equal hashes, no more.
        return hash(self.maker)


def schedule(
    law: Callable[..., Any] | None = None,
    *,
    example: Mapping[str, Any] | None = None,
    check: Callable[..., str | None] | None = None,
) -> Callable[..., Any]:
    """Make a law, a function of the step and some numbers, a public function of the numbers that returns a schedule.

    The law's first argument is the step as float32, of any shape. Its numbers are annotated with their range as the
    fields of a rule are (`peak: Rate`), sequences of numbers as `Annotated[Sequence[Scalar], Range("[0, inf)")]`; a
    number whose default is None may be left out. The law gets constants as Python floats, traced numbers as float32,
    and the values at the step of numbers that are schedules; other arguments (schedules to be joined) come as given.

    Args:
        law: the function; left out where the decorator is called with options.
        example: arguments for those without a default, with which the law can be tested.
        check: called with all arguments by name after each is checked alone; returns what is wrong with them together,
            or None. It compares only what `known` calls constant.

    >>> import optchain as oc
    >>> from optchain.core.numbers import Positive, Rate
    >>> @oc.schedule(example={"start": 1.0, "steps": 10})
    ... def halving(step, start: Rate, steps: Positive):
    ...     return start * 0.5 ** (step / steps)
    >>> print(halving(1.0, steps=10), float(halving(1.0, steps=10)(20)))
    halving(start=1, steps=10) 0.25
    """
    if law is None:
        return functools.partial(schedule, example=example, check=check)
    name = law.__name__
    _, *parameters = inspect.signature(law).parameters.values()
    # Without annotations, help() shows the arguments and their defaults and no type aliases.
    signature = inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters])
    numbers = ranges(law)
    sequences = [key for key, hint in get_type_hints(law).items() if get_origin(hint) is Sequence]
    optional = [parameter.name for parameter in parameters if parameter.default is None]

    @functools.wraps(law)
    def make(*args: Any, **kwargs: Any) -> Schedule:
        arguments = bind(name, signature, {}, args, kwargs)
        for key, x in arguments.items():
            if key in sequences:
                items = _items(name, key, x)
                arguments[key] = tuple(
                    checked(name, f"{key}[{i}]", item, numbers[key]) if key in numbers else item
                    for i, item in enumerate(items)
                )
            elif key in numbers and not (x is None and key in optional):
                arguments[key] = checked(name, key, x, numbers[key])
        problem = check(**arguments) if check else None
        if problem:
            raise ValueError(f"{name}: {problem}")
        return Schedule(make, arguments)

    law.numbers = numbers  # pyright: ignore
    make.law = law  # pyright: ignore
    make.__signature__ = signature  # pyright: ignore
    register(Registered(make, SCHEDULE, dict(example or {})))
    return make


def known(*numbers: Any) -> bool:
    """Whether all of these are constants, so that a check may compare them."""
    return not any(callable(x) or isinstance(x, Tracer) for x in numbers)


def _at(step: jax.Array, numbers: Any) -> Any:
    """A number, or a tuple of numbers, at one step."""

    def at(x: Any) -> Any:
        x = x(step) if callable(x) else x
        # A constant stays a Python number, so that the law's arithmetic among constants is done in double precision.
        return x if isinstance(x, float) else jnp.asarray(x, jnp.float32)

    return jax.tree.map(at, numbers, is_leaf=callable)


def _items(owner: str, name: str, value: Any) -> tuple[Any, ...]:
    try:
        return tuple(value)
    except TypeError:
        raise ValueError(f"{owner}: {name} must be a sequence, got {value!r}") from None
