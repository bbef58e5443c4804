"""Stopping by a signal: after the work at hand, not within it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, ClassVar, NoReturn, Self


class Interrupted(Exception):
    """A signal came, such as that of Ctrl-C; what was running is saved, and the same call resumes it.

    Args:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Signals:
    """Within this context the first SIGINT or SIGTERM is only noted in `received`; the second acts as usual.

    Python gives signals to its main thread only: in another thread `received` is what the main thread has noted.
    """

    of_main: ClassVar["Signals | None"] = None  # the outermost context of the main thread

    def __init__(self) -> None:
        self.noted: int | None = None
        self.is_main = threading.current_thread() is threading.main_thread()

    @property
    def received(self) -> int | None:
        """The number of the signal that came, if any."""
        noting = self if self.is_main else Signals.of_main
        return noting.noted if noting else None

    def stop(self) -> None:
        """Let this context and the other threads end as if a signal had come."""
        self.noted = self.noted or signal.SIGTERM

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM) if self.is_main else ()
        self.old: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
        for number in self.old:
            signal.signal(number, self._note)
        self.outer = Signals.of_main
        if self.is_main and self.outer is None:
            Signals.of_main = self
        return self

    def __exit__(self, *_: object) -> None:
        if Signals.of_main is self:
            Signals.of_main = None
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.noted = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Where SIGINT or SIGTERM ends what runs within this context, it raises Interrupted once all of it has been left;
    also where whoever started the process ignores them."""
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt  # which is no `Exception`, so that nothing within takes it for a fault of its own

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(received[-1] if received else signal.SIGINT) from None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
