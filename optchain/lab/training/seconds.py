"""The seconds of a run, by what they were spent on."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax.monitoring

# By name, the column of the table of evaluations.
COLUMNS = {"compiling": "compiling_seconds", "training": "seconds"}
COLUMNS |= {name: f"{name}_seconds" for name in ("evaluating", "saving")}
NAMES = tuple(COLUMNS)
COMPILED = "/jax/core/compile/backend_compile_duration"  # told by JAX of each program, also of one that was kept


class _Compiler:
    """The seconds of all compiling in this process, as JAX tells them."""

    seconds = 0.0

    def __call__(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        self.seconds += duration_secs if event == COMPILED else 0.0


_compiler = _Compiler()
jax.monitoring.register_event_duration_secs_listener(_compiler)


def none_yet() -> dict[str, float]:
    """No seconds, by name."""
    return dict.fromkeys(NAMES, 0.0)


def of(noted: Mapping[str, Any]) -> dict[str, float]:
    """The seconds among what was noted of a run."""
    return {name: noted[name] for name in NAMES}


def columns(noted: Mapping[str, Any]) -> dict[str, float]:
    """The seconds among what was noted of a run, by column."""
    return {column: noted[name] for name, column in COLUMNS.items()}


def of_row(row: Mapping[str, Any]) -> dict[str, float]:
    """The seconds that the row of an evaluation has, by name."""
    return {name: row[column] for name, column in COLUMNS.items() if column in row}


def total(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums by name; what a part does not say counts as none."""
    sums = none_yet()
    for part in parts:
        sums |= {name: sums.get(name, 0.0) + x for name, x in part.items()}
    return sums


@contextlib.contextmanager
def spent(seconds: dict[str, Any], name: str) -> Iterator[None]:
    """Add the time within this context to `seconds`: what was compiled meanwhile to `compiling`, the rest to a name."""
    began, before = time.perf_counter(), _compiler.seconds
    try:
        yield
    finally:
        compiling = _compiler.seconds - before
        seconds["compiling"] += compiling
        seconds[name] += time.perf_counter() - began - compiling


def in_words(seconds: Mapping[str, float]) -> str:
    """The seconds that are not nothing, in a line."""
    return ", ".join(f"{name} {x:.1f} s" for name, x in seconds.items() if x >= 0.05) or "less than 0.1 s"


def bound(seconds: Mapping[str, float]) -> str:
    """What most of the time went into, in words; an empty text where there is none."""
    whole = sum(seconds.values())
    if not whole:
        return ""
    name = max(seconds, key=lambda name: seconds[name])
    return f"{name} takes most of the time: {100 * seconds[name] / whole:.0f} % of {whole:.1f} s"
