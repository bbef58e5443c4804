"""`lift`, which makes a rule a public function, and `technique`, which marks a function that is written by hand."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from optchain.core.dense import Dense
from optchain.core.made_by import remembered
from optchain.core.numbers import bind, constraints
from optchain.core.registry import TECHNIQUE, Registered, register
from optchain.core.runner import Runner
from optchain.core.states import STRUCTURE
from optchain.core.transform import Transform, transform


def lift(rule: Any, name: str, runner: type[Runner] = Dense, positional_mask: bool = False) -> Callable[..., Transform]:
    """The public function of a rule: its fields as arguments, its docstring, and a `mask`.

    Fields that follow a `_: KW_ONLY` of `dataclasses` are given by name alone, and so is the mask. Any number may be
    given as a schedule. The function's `mask` chooses the leaves that the technique applies to: see
    `optchain.core.mask.select`.

    Args:
        rule: a class made by `rule`.
        name: the technique's name, which is the function's and the default name of its link.
        runner: how the rule is run over a tree.
        positional_mask: let the mask be given by position too.

    Raises:
        ValueError: a name that is not valid for a link, that the structure of states uses, or that a built-in technique
            has.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        expected = "use lower-case letters, digits and underscores, a letter first"
        raise ValueError(f"lift: {name!r} is not a valid link name; {expected}")
    if name in STRUCTURE:
        raise ValueError(
            f"lift: {name!r} is a key of every state; choose another name than {', '.join(sorted(STRUCTURE))}"
        )

    def parameter(argument: str, default: Any, by_name: bool) -> inspect.Parameter:
        kind = inspect.Parameter.KEYWORD_ONLY if by_name else inspect.Parameter.POSITIONAL_OR_KEYWORD
        given = inspect.Parameter.empty if default is dataclasses.MISSING else default
        return inspect.Parameter(argument, kind, default=given)

    fields = [parameter(field.name, field.default, field.kw_only is True) for field in dataclasses.fields(rule)]
    signature = inspect.Signature([*fields, parameter("mask", None, not positional_mask)])
    allowed = constraints(rule)

    def technique(*args: Any, **kwargs: Any) -> Transform:
        arguments = bind(name, signature, allowed, args, kwargs)
        own = {argument: x for argument, x in arguments.items() if argument != "mask"}
        return remembered(transform(runner(rule(**own), name, arguments["mask"])), technique, arguments)

    technique.__name__ = technique.__qualname__ = name
    technique.__module__ = rule.__module__
    technique.__doc__ = rule.__doc__
    technique.__signature__ = signature
    register(Registered(technique, TECHNIQUE, rule.example, rule))
    return technique


def technique(**example: Any) -> Callable[[Callable[..., Transform]], Callable[..., Transform]]:
    """Make a function that returns a transformation a technique, with arguments that the tests may call it with."""

    def mark(function: Callable[..., Transform]) -> Callable[..., Transform]:
        @functools.wraps(function)
        def make(*args: Any, **kwargs: Any) -> Transform:
            arguments = bind(function.__name__, inspect.signature(function), {}, args, kwargs)
            return remembered(function(**arguments), make, arguments)

        register(Registered(make, TECHNIQUE, example))
        return make

    return mark
