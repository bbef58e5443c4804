"""A study's trials in several processes."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from optchain.lab.base.errors import InputError, LostError
from optchain.lab.base.signals import Interrupted, Signals

POLL = 0.3  # seconds between two looks at the trials


def in_processes(work: Callable[..., Any], arguments: tuple[Any, ...], count: int, look: Callable[[], None]) -> None:
    """Let so many processes do the same work, and look at it now and then.

    Raises:
        Interrupted: a signal came; the processes have saved what they were running.
        InputError: a process failed; what it printed says why.
        LostError: a process lost the database of the study.
    """
    context = multiprocessing.get_context("spawn")  # what JAX has started does not survive a fork
    workers = [context.Process(target=_worker, args=(work, arguments)) for _ in range(count)]
    with Signals() as signals, _one_core_each(count):
        for worker in workers:
            worker.start()
        told, failed = False, []
        while any(worker.is_alive() for worker in workers):
            wait([worker.sentinel for worker in workers if worker.is_alive()], POLL)
            look()
            failed = [worker for worker in workers if worker.exitcode not in (None, 0)]
            if (signals.received or failed) and not told:
                told = True
                for worker in workers:
                    if worker.is_alive():
                        worker.terminate()
    look()
    if signals.received:
        raise Interrupted(signals.received)
    if any(worker.exitcode == LostError.code for worker in failed):
        raise LostError("the database of the study went away from a worker process; start this command again")
    if failed:
        raise InputError(f"a worker process ended with exit code {failed[0].exitcode}")


class _one_core_each:
    """Within this context new processes compute with one thread each, or they would wait for one another."""

    def __init__(self, count: int) -> None:
        self.flags = os.environ.get("XLA_FLAGS")
        self.several = count > 1

    def __enter__(self) -> None:
        if self.several:
            os.environ["XLA_FLAGS"] = one_core()

    def __exit__(self, *_: object) -> None:
        if self.flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = self.flags


def one_core() -> str:
    """The flags of XLA, and that it computes with one thread."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def _worker(work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Out of the terminal's reach: the parent passes on its signal, once, for the second one kills.
    os.setsid()
    threading.Thread(target=_follow, daemon=True).start()
    try:
        work(*arguments)
    except Interrupted:
        pass
    except LostError:  # who started it looks at the same place, and says so
        sys.exit(LostError.code)


def _follow() -> None:
    """Stop when the parent has been killed."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)
