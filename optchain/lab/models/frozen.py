"""Models of which some parameters are not trained: the optimizer never sees those."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from optchain.core.paths import matches, names_of, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import Model
from optchain.lab.models.lora import LORA


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A model some of whose parameters are not trained. They are carried in `rest["frozen"]`, so that they have no
    gradient and no optimizer state; the parameters are the others, with the names that they had.

    What adapts the model, the matrices of `lora`, is always trained.
    """

    model: Model
    patterns: tuple[str, ...]  # on paths
    adapted: tuple[str, ...] = ()  # patterns of the matrices that are adapted and therefore frozen

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        params, rest = self.model.init(key, inputs, given)
        frozen = self._chosen(params)
        trained = set(names_of(params)) - frozen
        return _part(params, trained), {"frozen": _part(params, frozen), "rest": rest}

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        bound, inner, back = self.bound(rest)
        outputs, after, more = bound.apply(params, inner, inputs, key, train)
        return outputs, back(after), more

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(merged(params, rest["frozen"]), rest["rest"])

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        return self.model.names(inputs)

    def bound(self, rest: Any) -> "tuple[Bound, Any, Callable[[Any], Any]]":
        """The model of the trained parameters alone, the rest that changes, and what puts the frozen ones back."""
        frozen = rest["frozen"]
        return Bound(self.model, frozen), rest["rest"], lambda after: {"frozen": frozen, "rest": after}

    def _chosen(self, params: Any) -> set[str]:
        """The paths of what is frozen."""
        names = [path for path in names_of(params) if not path.startswith(f"{LORA}/")]
        for i, pattern in enumerate(self.patterns):
            if not any(matches(path, pattern) for path in names):
                raise InputError(f"train.freeze.{i}: {pattern!r} matches no parameter; {nearest(pattern, names)}")
        both = self.patterns + self.adapted
        frozen = {path for path in names if any(matches(path, pattern) for pattern in both)}
        if len(frozen) == len(names_of(params)):
            raise InputError(f"train.freeze: {list(self.patterns)} freezes all parameters; leave some to be trained")
        return frozen


@dataclasses.dataclass(frozen=True)
class Bound:
    """A model with its frozen parameters."""

    model: Model
    frozen: Any

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        """As that of the model."""
        return self.model.apply(merged(params, self.frozen), rest, inputs, key, train)


def bound(model: Any, rest: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """See `Frozen.bound`; any other model as it is."""
    return model.bound(rest) if isinstance(model, Frozen) else (model, rest, lambda after: after)


def merged(trained: Any, frozen: Any) -> Any:
    """All parameters, of two trees of dictionaries."""
    if not (isinstance(trained, dict) and isinstance(frozen, dict)):
        return trained
    both = {name: merged(trained[name], frozen[name]) for name in trained if name in frozen}
    return {**trained, **frozen, **both}


def _part(tree: Any, chosen: set[str], path: str = "") -> Any:
    """What is chosen of a tree of dictionaries, without branches that have nothing; None stands in every part.

    Raises:
        InputError: of a list only some arrays are chosen.
    """
    parts = {}
    for name, x in tree.items():
        below = f"{path}{name}"
        if isinstance(x, dict):
            inner = _part(x, chosen, f"{below}/")
            parts |= {name: inner} if inner else {}
        elif x is None or _is_chosen(x, chosen, below):
            parts[name] = x
    return parts


def _is_chosen(x: Any, chosen: set[str], path: str) -> bool:
    """Whether an array is chosen, or a list with all of its arrays."""
    names = [f"{path}/{name}" if name else path for name in names_of(x)]
    own = [name for name in names if name in chosen]
    if own and len(own) < len(names):
        other = next(name for name in names if name not in chosen)
        raise InputError(
            f"train.freeze: freezes only one of {own[0]!r} and {other!r}; expected all of {path!r} or none"
        )
    return bool(own)
