"""The protocol of trackers, and what a run tells them."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from optchain.lab.base import processes
from optchain.lab.settings.load import flat
from optchain.lab.trackers.tables import require_installed

Values = dict[str, float]  # by names such as `batch/loss`, `optimizer/adam.norm`, `evaluation/validation_loss`


class Tracker(Protocol):
    """Takes the rows of one session of a run. Each is made by the function `start(table, about)` of a file here."""

    def log(self, step: int, values: Values) -> None:
        """Numbers of a step; several calls may be of the same one."""
        ...

    def end(self, ending: str, scores: Values) -> None:
        """How the session ended, and the final scores by split, model and name; nothing comes after."""
        ...


def library(name: str) -> Any:
    """A library, or a module of it, of which type checkers know nothing where it is not installed.

    Args:
        name: as after `import`.
    """
    return importlib.import_module(name)


class About:
    """What a tracker is told at the start."""

    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        self.folder, self.step = folder, step  # of the run, and the steps made before this session
        self.name = folder.resolve().name
        self.config = {key: x for key, x in flat(config).items() if x is not None}  # resolved, by dotted key


class Trackers:
    """The trackers of a run, of several processes those of the first. One that raises is named, and left out from then
    on: the run does not depend on it."""

    def __init__(self, tables: dict[str, Any], about: About, say: Callable[[str], None]) -> None:
        require_installed(tables)
        self.say = say
        self.trackers: dict[str, Tracker] = {}
        for name, table in tables.items() if processes.is_first() else ():
            self._try(name, lambda name=name, table=table: self._start(name, table, about))

    def _start(self, name: str, table: Any, about: About) -> None:
        module = importlib.import_module(f"optchain.lab.trackers.{table.use}")
        self.trackers[name] = module.start(table, about)

    def steps(self, before: int, logs: dict[str, Any], log_every: int) -> None:
        """The rows of the steps after `before`; the optimizer's metrics every `log_every` steps."""
        if not self.trackers:
            return
        logs = jax.tree.map(np.asarray, logs)
        plain = {f"batch/{name}": x for name, x in logs.items() if name != "optimizer"}
        optimizer = {f"optimizer/{name}": x for name, x in logs["optimizer"].items()}
        for i in range(len(logs["loss"])):
            step = before + i + 1
            own = plain | (optimizer if step % log_every == 0 else {})
            self._all(lambda tracker, step=step, own=own, i=i: tracker.log(step, _finite(own, i)))

    def evaluation(self, row: dict[str, Any]) -> None:
        """The row of an evaluation."""
        values = {f"evaluation/{name}": float(x) for name, x in row.items() if name != "step"}
        self._all(lambda tracker: tracker.log(row["step"], values))

    def end(self, ending: str, result: dict[str, Any]) -> None:
        """How the session ended, with the scores of a run that has ended."""
        scores = {key: x for key, x in flat(result.get("scores") or {}).items() if isinstance(x, float)}
        self._all(lambda tracker: tracker.end(ending, {key.replace(".", "/"): x for key, x in scores.items()}))
        self.trackers = {}

    def _all(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            self._try(name, lambda tracker=tracker: call(tracker))

    def _try(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # of another program, of any kind
            self.trackers.pop(name, None)
            self.say(f"trackers.{name}: {type(error).__name__}: {error}; the run continues without it")


def _finite(columns: dict[str, Any], i: int) -> Values:
    values = {name: float(x[i]) for name, x in columns.items() if np.ndim(x) == 1}
    return {name: x for name, x in values.items() if math.isfinite(x)}
