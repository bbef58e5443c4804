"""What a rule is: the law of one technique for one array, as a frozen dataclass of numbers."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, dataclass_transform

import jax

from optchain.core.kinds import Kind
from optchain.core.numbers import ranges, seeds, statics

T = TypeVar("T")
KEPT_BY_THE_LINK = ("count", "seen")  # names in a link's state that no slot may have


class Rule(Protocol):
    """The law of one technique, written for one array.

    Fields annotated with a `Range` (`Decay`, `Positive`, ...) are its numbers: pytree leaves that may be constants,
    traced values or schedules. A `Seed` is a leaf too, a whole number or a key: a rule that has one draws random
    numbers. All other fields are static. A number annotated as `Mean` is the decay of a running mean
    that starts at 0: the link keeps the weight that the mean has seen, even if its decay has changed, and `update`
    receives it as `seen.<name>`, to divide the mean by.

    Attributes:
        core_ndim: how many trailing axes one entry of the update looks across: 0 elementwise, 1 rows, 2 matrices, None
            the whole array; or a static method from the leaf's rank to one of these.
        needs_params: whether the law reads the parameter.
        extras: names of the extra arguments that `update` receives: scalars, or trees like the updates, of which it
            receives its own leaf, or None in a step for which the caller says so. To give nothing at all is an error.
            `path` is the leaf's name.
        batched: whether leaves of one shape run as one stacked call.
        any_rank: whether a law of rows accepts arrays of any rank.
        metrics: names of the scalars that a law of the whole tree computes anyway (`Joint` only).
        kinds: for each slot that may be stored in a code, what it is: see `optchain.core.kinds`.
        example: arguments for fields without a default, with which the technique can be tried.
        rate_power: 1 for a step of the size of its learning rate, 1/2 for one in proportion to the gradient too: leaves
            may then have learning rates of their own, see `optchain.core.joint` (`Joint` only). None: all have one.
        ignores_zeros: whether the update of an entry does not depend on how many zeros stand elsewhere (`Joint` only).
        on_shards: whether all that the law computes across entries comes from functions that compute it of the whole
            array where each device has a shard, under `over_axes`: `norm`, `rms`, `global_norm`, `dot`, `random_bits`
            and those of `optchain.core.whole` (`whole_sum`, `whole_shape`, ...). Else the leaf is gathered for it,
            and a law of the whole tree is refused.
    """

    core_ndim: int | None | Callable[[int], int | None]
    needs_params: bool
    extras: tuple[str, ...]
    batched: bool
    any_rank: bool
    metrics: tuple[str, ...]
    rate_power: float | None
    ignores_zeros: bool
    on_shards: bool
    example: Mapping[str, Any]
    kinds: Mapping[str, Kind]

    def init(self, p: jax.Array) -> Any:
        """The slots of one parameter: a NamedTuple of arrays (None for a slot that it does not have), or `()`."""
        ...

    def axes(self, p: jax.Array) -> Mapping[str, tuple[int | None, ...]]:
        """For each slot that does not follow all axes of the parameter: the axis that each of its own follows.

        A row sum of a matrix has `(0,)`, a square factor of its rows `(0, 0)`, a scalar `()`; None follows no axis.
        """
        ...

    def update(self, g: jax.Array, s: Any, p: Any, t: jax.Array, **extras: Any) -> tuple[jax.Array, Any]:
        """The outgoing update and the new slots; `t` counts this link's updates from 1."""
        ...


DEFAULTS: dict[str, Any] = {
    "core_ndim": 0,
    "needs_params": False,
    "extras": (),
    "batched": False,
    "any_rank": False,
    "metrics": (),
    "rate_power": None,
    "ignores_zeros": False,
    "on_shards": False,
    "example": {},
    "kinds": {},
    "init": lambda self, p: (),
    "axes": lambda self, p: {},
}


@dataclass_transform(frozen_default=True)
def rule(cls: type[T]) -> type[T]:
    """Make a class a rule: a frozen dataclass and a pytree whose leaves are its numbers.

    Args:
        cls: a class with the attributes and methods of `optchain.core.rule.Rule`.

    Raises:
        ValueError: a field that is neither a number with a range nor `Static`.
    """
    for name, default in DEFAULTS.items():
        if not hasattr(cls, name):
            setattr(cls, name, default)
    cls = dataclasses.dataclass(frozen=True)(cls)
    data, static = (*ranges(cls), *seeds(cls)), statics(cls)
    for field in dataclasses.fields(cls):  # pyright: ignore
        if field.name not in data and field.name not in static:
            expected = "a number with its range (Decay, Positive, ...), Seed or Static[...]"
            raise ValueError(f"{cls.__name__}: annotate {field.name} as {expected}")
    return jax.tree_util.register_dataclass(cls, list(data), list(static))


def core_of(rule: Any, ndim: int) -> int | None:
    """How many trailing axes of a leaf of this rank a rule looks across."""
    return rule.core_ndim if rule.core_ndim is None or isinstance(rule.core_ndim, int) else rule.core_ndim(ndim)
