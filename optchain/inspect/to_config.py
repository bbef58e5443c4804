"""Plain data from chains: the tables that `from_config` builds the same chain of."""

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from optchain.core.chain import Chain
from optchain.core.describe import written
from optchain.core.made_by import Call
from optchain.core.mask import Without
from optchain.core.paths import nearest
from optchain.core.registry import MASK_SCHEDULE, registered
from optchain.core.runner import Runner
from optchain.core.schedule import Schedule
from optchain.core.transform import Transform
from optchain.inspect.uses import takes
from optchain.masking.groups import groups
from optchain.parametrization.base import table_of
from optchain.parametrization.mup import mup
from optchain.pruning.schedule import MaskSchedule

Place = Callable[[Any], str | None]  # from an object to the text of its place, None where it has none

TRANSFORMATIONS = (optax.GradientTransformation, optax.MultiSteps)
PLACE = 'define it in a file and give to_config place=, a function from an object to its place, such as "file.py:name"'


def to_config(tx: Any, path: str = "optimizer", *, place: Place | None = None) -> dict[str, Any]:
    """The tables of plain data that `from_config` builds the same transformation of, ready for JSON and TOML.

    A technique, wrapper or preset is the call that made it, without the arguments that equal their defaults; a chain is
    the table of its links. The built one prints the same and takes the same steps, bit for bit; a technique that stands
    alone comes back as the chain of it. Numbers that are arrays become Python numbers, whose arithmetic among
    constants is done in double precision.

    Args:
        tx: a transformation of optchain.
        path: what to call the outermost table in errors.
        place: a function from an object to the text of its place, as `resolve` of `from_config` reads it, such as
            `"file.py:name"`, or None. It is asked for functions, and for techniques and transformations that are not
            optchain's.

    Raises:
        ValueError: something within that has no place, such as a lambda, an optax transformation, or an array; the
            message begins with the dotted path.

    >>> import optchain as oc
    >>> oc.to_config(oc.chain(clip=oc.clip(0.5), adam=oc.adam(oc.cosine(0.1, steps=100), b2=0.95)))["adam"]
    {'use': 'adam', 'learning_rate': {'use': 'cosine', 'start': 0.1, 'steps': 100.0}, 'b2': 0.95}
    """
    return _Writer(place).transformation(tx, path)


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Writes the tables that stand for transformations and their arguments."""

    place: Place | None

    def transformation(self, tx: Any, path: str) -> dict[str, Any]:
        """The table of a technique, or the tables of the links of a chain."""
        call = _call_of(tx)
        if call is not None:
            return self.call(call, path)
        if isinstance(tx, Transform) and type(tx.link) is Chain:
            return self.chain(tx.link, path)
        text = self.placed(tx)
        if text is not None:
            return {"use": text}
        if isinstance(tx, Transform):
            cure = (
                "a changed or unpickled one does not; make it by its technique with the arguments that it should have"
            )
            raise ValueError(f"{path}: {tx.link.name} does not know the call that made it: {cure}")
        what = f"{written(tx)} is not a transformation of optchain and does not tell its arguments"
        raise ValueError(f"{path}: {what}; {PLACE}")

    def chain(self, link: Chain, path: str) -> dict[str, Any]:
        """The tables of links by name."""
        if not link.links:
            raise ValueError(f"{path}: the chain has no link, and a table needs one")
        watch = {"watch": list(link.watch)} if link.watch else {}
        return watch | {name: self.transformation(tx, f"{path}.{name}") for name, tx in link.links}

    def call(self, call: Call, path: str) -> dict[str, Any]:
        """The table of a call, without the arguments that equal their defaults."""
        table: dict[str, Any] = {"use": self.use(call.make, path)}
        kinds = takes(call.make)
        for name, parameter in inspect.signature(call.make).parameters.items():
            x = call.arguments[name]
            if _is_default(x, parameter.default):
                continue
            if name == "use":
                raise ValueError(f"{path}.use: an argument of {table['use']} is called `use`; rename it")
            x = _in_order(x) if call.make is groups and name == "rules" else x
            x = table_of(x) if call.make is mup and name == "base" else x
            inner = isinstance(x, TRANSFORMATIONS) and kinds(name).transformation
            table[name] = (self.transformation if inner else self.value)(x, f"{path}.{name}")
        return table

    def use(self, make: Callable[..., Any], path: str) -> str:
        """The name of a technique or schedule of optchain, or the place of another one."""
        name = make.__name__
        entry = registered().get(name)
        if entry is not None and entry.make is make and entry.is_builtin:
            return name
        text = self.placed(make)
        if text is None:
            raise ValueError(f"{path}.use: {name} of {make.__module__} is not optchain's and has no place; {PLACE}")
        return text

    def value(self, x: Any, path: str) -> Any:
        """The value of an argument as plain data."""
        if isinstance(x, bool):
            return x
        for plain in (str, int, float):  # without the subclasses of NumPy and of enum
            if isinstance(x, plain):
                return plain(x)
        if isinstance(x, TRANSFORMATIONS):
            table = self.transformation(x, path)
            if isinstance(table.get("use"), dict):
                raise ValueError(f"{path}.use: a chain in an argument cannot have a link called `use`; rename it")
            return table if "use" in table else {"use": "chain", **table}
        if isinstance(x, (Schedule, MaskSchedule)):
            return self.call(Call(x.maker, x.arguments) if isinstance(x, Schedule) else _mask_schedule(x, path), path)
        if isinstance(x, Without):
            mask = {} if x.mask is None else {"mask": self.value(x.mask, f"{path}.mask")}
            return {"use": "Without", **mask, "other": self.value(x.other, f"{path}.other")}
        if isinstance(x, Mapping):
            return self.table(x, path)
        if type(x) in (list, tuple):
            return [self.value(item, f"{path}[{i}]") for i, item in enumerate(x)]
        if isinstance(x, (np.ndarray, np.generic, jax.Array)):
            return _number(x, path)
        text = _own_place(x) or self.placed(x)
        if text is None:
            raise ValueError(f"{path}: {_without_place(x)}")
        return text

    def table(self, x: Mapping[Any, Any], path: str) -> dict[str, Any]:
        """A table of values by name."""
        for key in x:
            if not isinstance(key, str):
                raise ValueError(f"{path}: the key {written(key)} is not a text, as the keys of tables are")
            if key == "use":
                raise ValueError(f"{path}.use: a key called `use` would name a technique; rename it")
        return {str(key): self.value(item, f"{path}.{key}") for key, item in x.items()}

    def placed(self, x: Any) -> str | None:
        """The place of an object, where `place` gives it one."""
        return None if self.place is None else self.place(x)


def _call_of(tx: Any) -> Call | None:
    """The call that made a transformation, remembered or, for a rule as its technique makes it, found again."""
    if not isinstance(tx, Transform):
        return None
    link = tx.link
    entry = registered().get(link.name)
    if link.made_by is not None or not isinstance(link, Runner) or entry is None or entry.rule is not type(link.rule):
        return link.made_by
    fields = dataclasses.fields(link.rule)
    call = Call(entry.make, {**{x.name: getattr(link.rule, x.name) for x in fields}, "mask": link.mask})
    return call if call.make(**call.arguments) == tx else None


def _in_order(rules: Any) -> Any:
    """The rules of `groups` as pairs where a table would not keep their order: TOML has plain values before tables."""
    if not isinstance(rules, Mapping):
        return rules
    is_frozen = {isinstance(what, str) for what in rules.values()}
    return rules if len(is_frozen) == 1 and all(isinstance(mask, str) for mask in rules) else list(rules.items())


def _mask_schedule(x: MaskSchedule, path: str) -> Call:
    """The call that makes a schedule of masks, whose arguments are its fields."""
    for entry in registered().values():
        if entry.kind == MASK_SCHEDULE and typing.get_type_hints(entry.make).get("return") is type(x):
            return Call(entry.make, {name: getattr(x, name) for name in inspect.signature(entry.make).parameters})
    known = [name for name, entry in registered().items() if entry.kind == MASK_SCHEDULE]
    raise ValueError(f"{path}: no function makes a {type(x).__name__}; {nearest(type(x).__name__.lower(), known)}")


def _own_place(x: Any) -> str | None:
    """The place of one of optchain's functions: the package, where that exports it, or its module."""
    if not inspect.isfunction(x) or x.__module__.partition(".")[0] != "optchain":
        return None
    modules = ("optchain", x.__module__)
    return next((f"{m}:{x.__name__}" for m in modules if vars(sys.modules[m]).get(x.__name__) is x), None)


def _number(x: Any, path: str) -> bool | int | float:
    """A scalar as a Python number."""
    if isinstance(x, Tracer):
        raise ValueError(f"{path}: a traced value has no number yet; call to_config outside of jit and vmap")
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{path}: a key has no place in a table; give the seed as a whole number")
    if np.ndim(x):
        cure = "give a number, or a function of your file that makes the transformation"
        raise ValueError(f"{path}: an array of shape {np.shape(x)} has no place in a table; {cure}")
    return x.item()


def _without_place(x: Any) -> str:
    """What is said of a value that cannot be written."""
    if x is None:
        return "None differs from the default here, and TOML has no word for it; give a value"
    kind = "the function" if inspect.isroutine(x) else f"a value of type {type(x).__name__},"
    return f"{kind} {written(x)} has no place; {PLACE}"


def _is_default(x: Any, default: Any) -> bool:
    """Whether an argument need not be written."""
    if x is default:
        return True
    if {type(x), type(default)} <= {int, float}:
        return repr(float(x)) == repr(float(default))
    if type(x) is not type(default):
        return False
    if isinstance(x, (list, tuple)):
        return len(x) == len(default) and all(map(_is_default, x, default))
    return isinstance(x, (str, Transform, Schedule)) and x == default
