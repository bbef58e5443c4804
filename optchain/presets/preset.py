"""What makes a preset: a chain that bears its own name, and the full optimizer of one technique."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

from optchain.core.chain import chain
from optchain.core.rule import Number, bind
from optchain.core.transform import Transform, technique, transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.stepsize.learning_rate import scale_by_learning_rate


def preset(make: Callable[..., Transform]) -> Callable[..., Transform]:
    """Make a function that returns a chain a technique whose chain bears its name."""

    @technique(**{next(iter(inspect.signature(make).parameters)): 0.01})
    @functools.wraps(make)
    def named(*args, **kwargs):
        arguments = bind(make.__name__, inspect.signature(make), {}, args, kwargs)
        return transform(dataclasses.replace(make(**arguments).link, name=make.__name__))

    return named


def made(name: str, make: Callable[..., Transform], arguments: dict[str, Any], doc: str) -> Callable[..., Transform]:
    """A preset out of a function of keyword arguments: its name, its arguments with their defaults, its docstring."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    make.__signature__ = inspect.Signature([inspect.Parameter(n, kind, default=x) for n, x in arguments.items()])  # pyright: ignore
    return preset(make)


def optimizer(
    name: str, moments: Callable[..., Transform], weight_decay: float | None = None, **defaults: float
) -> Callable[..., Transform]:
    """The full optimizer of one technique, with its arguments after the learning rate; decoupled decay on request.

    Args:
        name: of the optimizer.
        moments: the technique; its link is called after it, without `scale_by_`.
        weight_decay: the default of the argument `weight_decay`, which then comes last, before the decay's `mask`.
        **defaults: of arguments whose default differs from the technique's.
    """
    link = moments.__name__.removeprefix("scale_by_")
    own = [p for p in inspect.signature(moments).parameters.values() if p.name != "mask"]
    given = dict(learning_rate=inspect.Parameter.empty) | {p.name: defaults.get(p.name, p.default) for p in own}
    if weight_decay is not None:
        given |= {"weight_decay": weight_decay, "mask": None}

    def make(learning_rate: Number, **arguments) -> Transform:
        links = {link: moments(**{p.name: arguments[p.name] for p in own})}
        if weight_decay is not None:
            links["decay"] = add_decayed_weights(arguments["weight_decay"], arguments["mask"])
        return chain(**links, lr=scale_by_learning_rate(learning_rate))

    parts = [f"`{moments.__name__}`", *(["`add_decayed_weights`"] if weight_decay is not None else [])]
    doc = f"""The optimizer {name}: {", ".join(parts)}, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.{name}(0.01)
    """
    return made(name, make, given, doc)
