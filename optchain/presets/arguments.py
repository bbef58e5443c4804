"""The arguments of presets: what their techniques say of them, and what holds in all presets."""

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from optchain.core.mask import Mask
from optchain.core.numbers import Number, Seed, seeds, statics
from optchain.core.registry import registered

Make = TypeVar("Make", bound=Callable[..., Any])

STRIPPED = sys.flags.optimize > 1  # `python -OO` takes docstrings away

# The sections of a docstring that the arguments stand before.
AFTER = re.compile(r"^(Returns|Raises|References|Differs from the paper):|^>>>", re.MULTILINE)

LEARNING_RATE = "the factor of the whole step, downhill: usually positive, and often a schedule."
WEIGHT_DECAY = """the multiple of the parameter that is added to the update, at least 0; the learning rate multiplies it
    too (decoupled decay)."""
L2 = "the multiple of the parameter that is added to the gradient, at least 0; it enters all that follows (L2)."
LEAVES = "patterns on paths, a predicate of (path, leaf), a tree of bools, or a function that makes it"
DECAY_MASK = f"the parameters that decay: {LEAVES}; None stands for all."
MOMENTUM = "the decay of the sum of the updates so far that takes their place, in [0, 1); None is without momentum."
NESTEROV = "whether that sum looks ahead by one step."


class Argument(NamedTuple):
    """One argument of a preset: its type hint, its default and what it does."""

    hint: Any
    default: Any
    text: str


REQUIRED = inspect.Parameter.empty
RATE = {"learning_rate": Argument(Number, REQUIRED, LEARNING_RATE)}


def decay(default: float | None = None, text: str = WEIGHT_DECAY) -> dict[str, Argument]:
    """The arguments of a weight decay and of its mask."""
    hint = Number if default is not None else Number | None
    return {"weight_decay": Argument(hint, default, text), "mask": Argument(Mask | None, None, DECAY_MASK)}


def arguments_of(technique: Any, **defaults: Any) -> dict[str, Argument]:
    """The arguments of a technique that `lift` made, without its mask.

    Args:
        technique: the public function of a rule.
        **defaults: other defaults.

    Raises:
        ValueError: a field that the technique's docstring does not describe.
    """
    rule, described = registered()[technique.__name__].rule, texts(technique)
    kinds = statics(rule) | dict.fromkeys(seeds(rule), Seed)
    parameters = [p for p in inspect.signature(technique).parameters.values() if p.name != "mask"]
    missing = [p.name for p in parameters if p.name not in described]
    if missing and not STRIPPED:
        raise ValueError(f"{technique.__name__}: describe in its section `Fields:` {', '.join(missing)}")
    return {
        p.name: Argument(kinds.get(p.name, Number), defaults.get(p.name, p.default), described.get(p.name, ""))
        for p in parameters
    }


def positional(technique: Any) -> list[str]:
    """The arguments of a technique that may be given by position."""
    parameters = inspect.signature(technique).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def texts(function: Any) -> dict[str, str]:
    """What the docstring of a function says of each argument, in its section `Args:` or `Fields:`."""
    section = re.search(r"^(?:Args|Fields):\n((?:[ ]+.*\n|\n)*)", f"{inspect.getdoc(function)}\n", re.MULTILINE)
    items = re.findall(r"^ {4}([\w*, ]+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {
        name.strip(" *"): " ".join(line.strip() for line in body.splitlines())
        for names, body in items
        for name in names.split(",")
    }


def summary(name: str, links: str, technique: Callable[..., Any]) -> str:
    """The first paragraphs of the docstring of a preset that is made of one technique."""
    return f"""{textwrap.fill(f"The optimizer {name}: {links}.", 112)}

The formula stands in the documentation of `{technique.__name__}`, with the letters that are used below."""


def example(call: str) -> str:
    """The end of such a docstring."""
    return f"""

>>> import optchain as oc
>>> tx = oc.{call}"""


def with_arguments(doc: str, described: Mapping[str, str]) -> str:
    """A docstring with a section `Args:` for these arguments, before what it raises, its references and examples."""
    doc = inspect.cleandoc(doc)
    first = AFTER.search(doc)
    head, tail = (doc[: first.start()], doc[first.start() :]) if first else (doc, "")
    items = [_item(name, text) for name, text in described.items()]
    return "\n".join([head.rstrip(), "", "Args:", *items, *(["", tail] if tail else [])])


@functools.cache  # most presets share most of their texts, and they are written at the import
def _item(name: str, text: str) -> str:
    """What is said of one argument, in lines that fit."""
    wrap = textwrap.TextWrapper(112, "    ", "        ", break_long_words=False, break_on_hyphens=False)
    return wrap.fill(" ".join(f"{name}: {text}".split()))


def documented(*techniques: Callable[..., Any], **own: str) -> Callable[[Make], Make]:
    """Describe every argument of a preset in its docstring.

    Args:
        *techniques: those whose text stands for the arguments that have the same name; the first that has one counts.
        **own: the texts of the other arguments, and of those that are something else here.

    Raises:
        ValueError: an argument without a text, or a text without an argument.
    """

    def complete(make: Make) -> Make:
        if STRIPPED:
            return make
        known = {name: text for technique in reversed(techniques) for name, text in texts(technique).items()}
        known |= {"learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "mask": DECAY_MASK} | own
        names = inspect.signature(make).parameters
        if problem := sorted((set(names) - set(known)) | (set(own) - set(names))):
            raise ValueError(f"{make.__name__}: describe its arguments, and no others: {', '.join(problem)}")
        make.__doc__ = with_arguments(make.__doc__ or "", {name: known[name] for name in names})
        return make

    return complete
