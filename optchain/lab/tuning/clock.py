"""How long a study has been searched, by the clock."""

import json
import time
import uuid
from pathlib import Path
from typing import Protocol

import optuna

from optchain.lab.base.files import write_whole

Span = list[float]  # when a process began, and when it was last heard of
RARELY = 1.0  # seconds from one word to a database to the next


class Clock(Protocol):
    """The seconds in which at least one process has searched: those of all sessions, also of killed ones, together."""

    def tick(self) -> None:
        """Note that this process is still searching."""
        ...

    def spent(self) -> float:
        """The seconds up to now."""
        ...


class FolderClock:
    """Each process keeps a file in the folder `clock` of the study."""

    def __init__(self, folder: Path) -> None:
        self.path, self.began = folder / "clock" / f"{uuid.uuid4().hex}.json", time.time()

    def tick(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        write_whole(self.path, json.dumps([self.began, time.time()]))

    def spent(self) -> float:
        self.tick()
        return covered([json.loads(path.read_text()) for path in self.path.parent.glob("*.json")])


class StudyClock:
    """Each process keeps an attribute of the study in its database. The clocks of the machines should agree."""

    def __init__(self, optuna_study: optuna.Study) -> None:
        self.optuna_study, self.name = optuna_study, f"clock:{uuid.uuid4().hex}"
        self.began, self.told = time.time(), -RARELY

    def tick(self) -> None:
        if time.monotonic() - self.told >= RARELY:
            self.told = time.monotonic()
            self.optuna_study.set_user_attr(self.name, [self.began, time.time()])

    def spent(self) -> float:
        self.tick()
        spans = {name: span for name, span in self.optuna_study.user_attrs.items() if name.startswith("clock:")}
        return covered([*(spans | {self.name: [self.began, time.time()]}).values()])


def covered(spans: list[Span]) -> float:
    """The seconds that at least one span covers."""
    seconds, end = 0.0, 0.0
    for first, last in sorted(spans):
        seconds += max(last - max(first, end), 0.0)
        end = max(end, last)
    return seconds
