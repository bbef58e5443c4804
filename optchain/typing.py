"""The types of arguments, as a type checker sees them; use them in annotations of functions that call optchain's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import jax

from optchain.core.schedule import Schedule as Schedule
from optchain.core.transform import Transform as Transform


class Dataclass(Protocol):
    """An instance of any dataclass, such as a module of parameters; `Without` is one too."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


# A hyperparameter: a constant, a traced value, or a schedule, which may be any function of the step.
Number = float | jax.Array | Callable[[jax.Array], jax.typing.ArrayLike]

# Which leaves: patterns on paths, a predicate of (path, leaf), or a tree of bools, of which a single bool is the least.
Mask = str | Sequence[Any] | Mapping[Any, Any] | Callable[[str, jax.Array], bool] | Dataclass | bool
