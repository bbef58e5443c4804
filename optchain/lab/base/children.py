"""Processes that another one has started: they end with it, and each computes with a core of its own."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

POLL = 0.3  # seconds between two looks at the parent


def follow_parent() -> None:
    """Leave the terminal's reach, so that the parent decides which signals this process gets; and get SIGTERM when the
    parent has been killed."""
    os.setsid()
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def one_core_each(count: int) -> Iterator[None]:
    """Within this context new processes, if several, compute with one thread each, or they would wait for one
    another."""
    flags = os.environ.get("XLA_FLAGS")
    if count > 1:
        os.environ["XLA_FLAGS"] = one_core()
    try:
        yield
    finally:
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags


def one_core() -> str:
    """The flags of XLA, and that it computes with one thread."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
