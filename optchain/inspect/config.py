"""Chains from plain data, such as a TOML table: link by link, by technique name and arguments."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import optax

from optchain.core.chain import chain
from optchain.core.elsewhere import elsewhere
from optchain.core.mask import Choice
from optchain.core.paths import nearest
from optchain.core.registry import MASK_SCHEDULE, SCHEDULE, TECHNIQUE, registered
from optchain.core.schedule import Schedule
from optchain.core.transform import Transform
from optchain.inspect.uses import Resolve, Takes, at_place, is_place, missing, named, parameters, takes
from optchain.pruning.schedule import MaskSchedule
from optchain.stepsize.learning_rate import scale_by_learning_rate

# What may stand at a place as it is, and what a function at a place may return.
BUILT = (optax.GradientTransformation, optax.MultiSteps, Schedule, MaskSchedule, Choice)


def from_config(links: dict[str, Any], path: str = "optimizer", *, resolve: Resolve | None = None) -> Transform:
    """Build a chain, or one technique that surrounds all, from nested tables of plain data.

    Each sub-table is a link, in order: `use` names a technique, a preset or a schedule, optchain's or one of your own
    that is registered (`lift`), or, as `optax.NAME`, any function of optax or `optax.contrib`; its other keys are the
    arguments. Where an argument is a table with a `use` of its own, it is built first. A link that uses a schedule
    stands for `scale_by_learning_rate` of it. A link without `use` is a chain of its own. The key `watch` is the
    argument of `chain`.

    With `resolve`, a `use` may be a place, `"file.py:Name"` or `"package.module:Name"`: a technique of your own, or a
    function that returns an optchain or optax transformation or a schedule, with the table's other keys as arguments.
    Where an argument may be a function, such as a mask or a number, so may the text of a place be; what optchain
    exports needs no `resolve` there, `mask = "optchain:is_kernel"`. Where a chain stands within an argument that may be
    other tables too, say `use = "chain"`; `use = "Without"` is the mask of that name.

    Where `use` stands in the outermost table it is one technique and no chain: a wrapper around its `tx`, such as
    `precision`, which must surround the chain to see the parameters in the dtype they are stored in. One that is
    neither wrapper nor chain becomes a chain of one link.

    Args:
        links: the tables, such as `{"adam": {"use": "scale_by_adam", "b2": 0.95}, "lr": {"use": "cosine", ...}}`, or
            `{"use": "precision", "params": "master", "tx": {"adam": ..., "lr": ...}}`.
        path: what to call the outermost table in errors.
        resolve: a function from the text of a place to the object that it names, anywhere within the tables.

    Raises:
        ValueError: an unknown technique or argument, or a value that it refuses; the message begins with the dotted
            path and names the nearest valid name.

    >>> tx = from_config({"adam": {"use": "scale_by_adam"}, "lr": {"use": "scale", "step_size": -0.1}})
    >>> [name for name, _ in tx.link.links]
    ['adam', 'lr']
    """
    return _Reader(resolve).outermost(links, path)


def schedule_from_config(
    table: dict[str, Any], path: str, *, resolve: Resolve | None = None
) -> Callable[[Any], jax.Array]:
    """Build a schedule from a table with `use`, the schedule's name or its place, and its arguments.

    Raises:
        ValueError: an unknown schedule or argument, or a value that it refuses; the message begins with the path.

    >>> print(schedule_from_config({"use": "cosine", "start": 0.1, "steps": 10}, "rate"))
    cosine(start=0.1, steps=10, end=0, exponent=1)
    """
    made = _Reader(resolve).build(table, path)
    if not callable(made):
        raise ValueError(f"{path}.use: {table['use']!r} is not a schedule")
    return cast("Callable[[Any], jax.Array]", made)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Builds what tables stand for."""

    resolve: Resolve | None

    def outermost(self, links: Any, path: str) -> Transform:
        """A chain, or a technique that surrounds all."""
        if not isinstance(links, dict):
            raise ValueError(f"{path}: expected a table of links, got {links!r}")
        if not isinstance(links.get("use"), str):
            return self.chain(links, path)
        made = self.link(links, path)
        # Wrappers and chains, within which others stand, keep metrics themselves.
        return made if isinstance(made, Transform) and made.link.children() else chain(made)

    def chain(self, links: dict[str, Any], path: str) -> Transform:
        """A chain of its links by name."""
        built = {name: self.link(table, f"{path}.{name}") for name, table in links.items() if name != "watch"}
        if not built:
            raise ValueError(f"{path}: the chain has no link")
        return _call(chain, {"watch": links.get("watch", False)} | built, path)

    def link(self, table: Any, path: str) -> optax.GradientTransformation:
        """A link; tables without a `use` are a chain of their own."""
        if isinstance(table, dict) and not isinstance(table.get("use"), str):
            inner = [x for name, x in table.items() if name != "watch"]
            if inner and all(isinstance(x, dict) for x in inner):
                return self.chain(table, path)
        made = self.build(table, path)
        return scale_by_learning_rate(made) if callable(made) else made

    def build(self, table: Any, path: str) -> Any:
        """What a table with `use` stands for: a transformation, a schedule, or a mask."""
        if not isinstance(table, dict) or not isinstance(table.get("use"), str):
            raise ValueError(f'{path}: expected a table with `use = "technique"`, got {table!r}')
        use, keys = table["use"], {name: x for name, x in table.items() if name != "use"}
        if use == "chain":
            return self.chain(keys, path)
        make = named(use, f"{path}.use", self.resolve)
        if isinstance(make, BUILT):
            for name in keys:
                raise ValueError(f"{path}.{name}: {use} is not a function and takes no arguments")
            return make
        known = parameters(make, use, path)
        for name in keys:
            if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
                cure = elsewhere(use, name) or nearest(name, known)
                raise ValueError(f"{path}.{name}: {use} has no such argument; {cure}")
        kinds = takes(make)
        arguments = {name: self.argument(x, f"{path}.{name}", kinds(name)) for name, x in keys.items()}
        if ":" not in use:
            return _call(make, arguments, path)
        for name in missing(known, arguments):
            raise ValueError(f"{path}: {use}: missing a required argument: {name!r}")
        made = _call(make, arguments, path)
        if not isinstance(made, BUILT) and not callable(made):
            raise ValueError(f"{path}.use: {use} returned {made!r}; expected a transformation or a schedule")
        return made

    def argument(self, value: Any, path: str, kind: Takes) -> Any:
        """The value of an argument, with what stands for something else built."""
        if isinstance(value, str) and kind.function and is_place(value, self.resolve):
            return at_place(value, path, self.resolve)
        if isinstance(value, list):
            return [self.argument(item, f"{path}[{i}]", kind) for i, item in enumerate(value)]
        if kind.transformation and not isinstance(value, (str, optax.GradientTransformation)) and value is not None:
            return self.link(value, path)
        if not isinstance(value, dict):
            return value
        if "use" in value:
            return self.build(value, path)
        return {name: self.argument(item, f"{path}.{name}", kind) for name, item in value.items()}


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
