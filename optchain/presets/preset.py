"""What makes a preset: a chain that bears its own name, and the full optimizer of one technique."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

from optchain.core.chain import Chain, chain
from optchain.core.lift import technique
from optchain.core.numbers import Number
from optchain.core.transform import Transform, transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.presets.arguments import RATE, Argument, arguments_of, decay, example, positional, summary, with_arguments
from optchain.stepsize.learning_rate import scale_by_learning_rate


def preset(make: Callable[..., Transform]) -> Callable[..., Transform]:
    """Make a function that returns a chain a technique whose chain bears its name; a wrapper keeps its own."""

    @technique(**{next(iter(inspect.signature(make).parameters)): 0.01})
    @functools.wraps(make)
    def named(**arguments: Any) -> Transform:
        tx = make(**arguments)
        return transform(dataclasses.replace(tx.link, name=make.__name__)) if isinstance(tx.link, Chain) else tx

    return named


def made(
    name: str, make: Callable[..., Transform], arguments: Mapping[str, Argument], first: Sequence[str], doc: str
) -> Callable[..., Transform]:
    """A preset out of a function of keyword arguments: its name, its arguments with their defaults, its docstring.

    The arguments called `first` may be given by position, all others by name alone.
    """
    arguments = {key: arguments[key] for key in [*first, *(key for key in arguments if key not in first)]}
    kinds = [Parameter.POSITIONAL_OR_KEYWORD if key in first else Parameter.KEYWORD_ONLY for key in arguments]
    parameters = [
        Parameter(key, kind, default=x.default) for (key, x), kind in zip(arguments.items(), kinds, strict=True)
    ]
    make.__name__ = make.__qualname__ = name
    make.__doc__ = with_arguments(doc, {key: x.text for key, x in arguments.items()})
    # The types stand beside the signature: help() then shows the arguments and their defaults and no type aliases.
    make.__annotations__ = {key: x.hint for key, x in arguments.items()} | {"return": Transform}
    make.__signature__ = inspect.Signature(parameters)
    return preset(make)


def optimizer(
    name: str,
    moments: Callable[..., Transform],
    weight_decay: float | None = None,
    by_position: str | None = None,
    **defaults: float,
) -> Callable[..., Transform]:
    """The full optimizer of one technique, with its arguments after the learning rate; decoupled decay on request.

    Args:
        name: of the optimizer.
        moments: the technique; its link is called after it, without `scale_by_`.
        weight_decay: the default of the argument `weight_decay`, which then comes with the decay's `mask`.
        by_position: the arguments after the learning rate that may be given by position; left out, those of the
            technique.
        **defaults: of arguments whose default differs from the technique's.
    """
    link, own = moments.__name__.removeprefix("scale_by_"), arguments_of(moments, **defaults)
    last = {} if weight_decay is None else decay(weight_decay)
    first = positional(moments) if by_position is None else by_position.split()

    def make(learning_rate: Number, **arguments: Any) -> Transform:
        links: dict[str, Any] = {link: moments(**{name: arguments[name] for name in own})}
        if weight_decay is not None:
            links["decay"] = add_decayed_weights(arguments["weight_decay"], arguments["mask"])
        return chain(**links, lr=scale_by_learning_rate(learning_rate))

    decayed = "" if weight_decay is None else "`add_decayed_weights`, "
    links = f"`{moments.__name__}`, {decayed}`scale_by_learning_rate`"
    doc = summary(name, links, moments) + example(f"{name}(0.01)")
    return made(name, make, RATE | own | last, [*RATE, *first], doc)
