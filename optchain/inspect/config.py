"""Chains from plain data, such as a TOML table: link by link, by technique name and arguments."""

import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import optax

from optchain.core.chain import chain
from optchain.core.elsewhere import elsewhere
from optchain.core.paths import nearest
from optchain.core.registry import MASK_SCHEDULE, SCHEDULE, TECHNIQUE, registered
from optchain.core.transform import Transform
from optchain.stepsize.learning_rate import scale_by_learning_rate


def from_config(links: dict[str, Any], path: str = "optimizer") -> Transform:
    """Build a chain, or one technique that surrounds all, from nested tables of plain data.

    Each sub-table is a link, in order: `use` names a technique, a preset or a schedule, optchain's or one of your own
    that is registered (`lift`), or, as `optax.NAME`, any function of optax or `optax.contrib`; its other keys are the
    arguments. Where an argument is a table with a `use` of its own, it is built first. A link that uses a schedule
    stands for `scale_by_learning_rate` of it. A link without `use` is a chain of its own. The key `watch` is the
    argument of `chain`.

    Where `use` stands in the outermost table it is one technique and no chain: a wrapper around its `tx`, such as
    `precision`, which must surround the chain to see the parameters in the dtype they are stored in. One that is
    neither wrapper nor chain becomes a chain of one link.

    Args:
        links: the tables, such as `{"adam": {"use": "scale_by_adam", "b2": 0.95}, "lr": {"use": "cosine", ...}}`, or
            `{"use": "precision", "params": "master", "tx": {"adam": ..., "lr": ...}}`.
        path: what to call the outermost table in errors.

    Raises:
        ValueError: an unknown technique or argument, or a value that it refuses; the message begins with the dotted
            path and names the nearest valid name.

    >>> tx = from_config({"adam": {"use": "scale_by_adam"}, "lr": {"use": "scale", "step_size": -0.1}})
    >>> [name for name, _ in tx.link.links]
    ['adam', 'lr']
    """
    if not isinstance(links, dict):
        raise ValueError(f"{path}: expected a table of links, got {links!r}")
    if isinstance(links.get("use"), str):
        made = _link(links, path)
        # Wrappers and chains, within which others stand, keep metrics themselves.
        return made if isinstance(made, Transform) and made.link.children() else chain(made)
    built = {name: _link(table, f"{path}.{name}") for name, table in links.items() if name != "watch"}
    if not built:
        raise ValueError(f"{path}: the chain has no link")
    return _call(chain, {"watch": links.get("watch", False)} | built, path)


def schedule_from_config(table: dict[str, Any], path: str) -> Callable[[Any], jax.Array]:
    """Build a schedule from a table with `use`, the schedule's name, and its arguments.

    Raises:
        ValueError: an unknown schedule or argument, or a value that it refuses; the message begins with the path.

    >>> print(schedule_from_config({"use": "cosine", "start": 0.1, "steps": 10}, "rate"))
    cosine(start=0.1, steps=10, end=0, exponent=1)
    """
    made = _build(table, path)
    if not callable(made):
        raise ValueError(f"{path}.use: {table['use']!r} is no schedule")
    return cast("Callable[[Any], jax.Array]", made)


def _link(table: Any, path: str) -> optax.GradientTransformation:
    if isinstance(table, dict) and "use" not in table and all(isinstance(x, dict) for x in table.values()) and table:
        return from_config(table, path)
    made = _build(table, path)
    return scale_by_learning_rate(made) if callable(made) else made


def _build(table: Any, path: str) -> Any:
    """What a table with `use` stands for: a transformation or a schedule."""
    if not isinstance(table, dict) or not isinstance(table.get("use"), str):
        raise ValueError(f'{path}: expected a table with `use = "technique"`, got {table!r}')
    make = _function(table["use"], f"{path}.use")
    arguments = {name: _argument(value, f"{path}.{name}") for name, value in table.items() if name not in ("use", "tx")}
    if "tx" in table:  # what a wrapper stands around: one technique, or a chain of its own
        arguments["tx"] = _link(table["tx"], f"{path}.tx")
    known = inspect.signature(make).parameters
    for name in arguments:
        if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            cure = elsewhere(table["use"], name) or nearest(name, known)
            raise ValueError(f"{path}.{name}: {table['use']} has no such argument; {cure}")
    return _call(make, arguments, path)


def _argument(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_argument(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "use" in value:
        return _build(value, path)
    return {name: _argument(item, f"{path}.{name}") for name, item in value.items()}


def _call(make: Callable[..., Any], arguments: dict[str, Any], path: str) -> Any:
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def techniques() -> dict[str, Callable[..., Any]]:
    """Every technique, preset and schedule of optchain by name."""
    return _made(TECHNIQUE) | _made(SCHEDULE)


def mask_schedules() -> dict[str, Callable[..., Any]]:
    """Every schedule of masks, which `sparse` takes, by name."""
    return _made(MASK_SCHEDULE)


def _made(kind: str) -> dict[str, Callable[..., Any]]:
    """What optchain itself has registered of one kind, by name."""
    return {name: entry.make for name, entry in registered().items() if entry.kind == kind and entry.is_builtin}


def _function(name: str, path: str) -> Callable[..., Any]:
    module, dot, rest = name.partition(".")
    if dot and module == "optax":
        functions = {**_factories(optax.contrib), **_factories(optax)}
        rest = rest.removeprefix("contrib.")
    else:
        functions, rest = {key: entry.make for key, entry in registered().items()}, name
    if rest not in functions:
        raise ValueError(f"{path}: there is no technique {name!r}; {nearest(rest, functions)}")
    return functions[rest]


def _factories(module: Any) -> dict[str, Callable[..., Any]]:
    return {name: x for name, x in vars(module).items() if inspect.isfunction(x) and not name.startswith("_")}
