"""A study's trials in several processes."""

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from optchain.lab.base.children import POLL, follow_parent, one_core_each
from optchain.lab.base.errors import InputError, LostError
from optchain.lab.base.signals import Interrupted, Signals


def in_processes(work: Callable[..., Any], arguments: tuple[Any, ...], count: int, look: Callable[[], None]) -> None:
    """Let so many processes do the same work, and look at it now and then.

    Raises:
        Interrupted: a signal came; the processes have saved what they were running.
        InputError: a process failed; what it printed says why.
        LostError: a process lost the database of the study.
    """
    context = multiprocessing.get_context("spawn")  # what JAX has started does not survive a fork
    workers = [context.Process(target=_worker, args=(work, arguments)) for _ in range(count)]
    with Signals() as signals, one_core_each(count):
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


def _worker(work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    follow_parent()  # which passes on its signal, once, for the second one kills
    try:
        work(*arguments)
    except Interrupted:
        pass
    except LostError:  # who started it looks at the same place, and says so
        sys.exit(LostError.code)
