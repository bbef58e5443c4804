"""Stopping by a signal: after the work at hand, not within it."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):
    """A signal came; what was running is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Signals:
    """Within this context the first SIGINT or SIGTERM is only noted in `received`; the second acts as usual."""

    received: int | None = None

    def __enter__(self) -> Self:
        # Python lets only its main thread have a say.
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        self.old: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
        for number in self.old:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)
