"""Callbacks: functions of the user's that see each evaluation, and may end the run."""

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from optchain.lab.base import processes
from optchain.lab.base.errors import InputError
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Name, Table

AnyCallback = Annotated[Any, Kinds("callback", {}, Table, 2)]
AnyCallbacks = dict[Name, AnyCallback]
STOP = "stop"


class Callback(Protocol):
    """What `[callbacks.NAME] use = "file.py:function"` names; the other keys of the table are its other arguments."""

    def __call__(self, row: dict[str, Any], folder: Path) -> Literal["stop"] | None:
        """Observe an evaluation.

        Args:
            row: of the evaluation, as in `metrics.csv`; a copy.
            folder: that of the run.

        Returns:
            "stop" to end the run as if it had been stopped by hand, else None.
        """
        ...


def observed(callbacks: dict[str, Any], row: dict[str, Any], folder: Path) -> bool:
    """Call all callbacks, in the first process; whether one of them ends the run.

    Raises:
        InputError: naming the table and the place of one that raised something or answered something else.
    """
    return processes.of_first(lambda: _observed(callbacks, row, folder))


def _observed(callbacks: dict[str, Any], row: dict[str, Any], folder: Path) -> bool:
    stops = False
    for name, table in callbacks.items():
        try:
            answer = table.build(dict(row), folder)
        except InputError as error:
            raise InputError(f"callbacks.{name}: {error}") from error
        except Exception as error:  # of the user's function, of any kind
            raise InputError(f"callbacks.{name}: {table.use}: {type(error).__name__}: {error}") from error
        if answer is not None and answer != STOP:
            raise InputError(f"callbacks.{name}: {table.use} answered {answer!r}; expected None or {STOP!r}")
        stops |= answer == STOP
    return stops
