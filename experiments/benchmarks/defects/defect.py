"""What a defect is: a situation, what is expected, and what comes of it with optax and with optchain."""

import dataclasses
from collections.abc import Callable
from typing import Any

from experiments.benchmarks.record import Row


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same situation on both sides, and the one judge of what comes of it."""

    optax: Callable[[], Any]
    optchain: Callable[[], Any]
    right: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Defect:
    """A situation in which bare optax goes, or went, wrong."""

    name: str
    situation: str
    wanted: str
    pair: Callable[[], Pair]

    def row(self) -> Row:
        """What comes of it on both sides; an exception is what comes of it too."""
        pair = self.pair()
        outcomes = {side: _outcome(getattr(pair, side)) for side in ("optax", "optchain")}
        return {
            "situation": self.situation,
            "expected": self.wanted,
            **{side: _shown(x) for side, x in outcomes.items()},
            **{f"{side}_right": not isinstance(x, Exception) and bool(pair.right(x)) for side, x in outcomes.items()},
        }


DEFECTS: dict[str, Defect] = {}


def defect(situation: str, wanted: str) -> Callable[[Callable[[], Pair]], Callable[[], Pair]]:
    """Register a function that sets up a situation."""

    def register(pair: Callable[[], Pair]) -> Callable[[], Pair]:
        DEFECTS[pair.__name__] = Defect(pair.__name__, situation, wanted, pair)
        return pair

    return register


def _outcome(side: Callable[[], Any]) -> Any:
    try:
        return side()
    except Exception as error:  # noqa: BLE001  # whatever is raised is what a user meets
        return error


def _shown(x: Any) -> str:
    if isinstance(x, Exception):
        return f"{type(x).__name__}: {str(x).splitlines()[0][:70] if str(x) else ''}"
    return f"{x:.4g}" if isinstance(x, float) else str(x)
