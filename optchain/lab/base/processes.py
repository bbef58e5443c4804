"""Several processes that compute one run, each with devices of its own: which one this is, and what all agree on."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError, first_line

LOST = 4  # the exit code of a process that has lost another one
HEARTBEAT = 30  # seconds after which a process that does not answer is given up


def start(processes: str | None, process: int | None, coordinator: str | None) -> None:
    """Meet the other processes, before JAX looks for devices; nothing is done without arguments.

    Args:
        processes: how many, or "auto" where Slurm, MPI or Kubernetes tell it.
        process: the number of this one, from 0.
        coordinator: `HOST:PORT` at which the first one listens.

    Raises:
        InputError: the arguments do not fit together, or nobody answers.
    """
    if processes is None:
        if process is not None or coordinator is not None:
            raise InputError("--process and --coordinator: got no --processes; expected how many there are, or auto")
        return
    given: dict[str, Any] = {}
    if processes != "auto":
        given = _checked(processes, process, coordinator)
    elif process is not None or coordinator is not None:
        raise InputError("--processes auto: got --process or --coordinator; expected neither, or a number of processes")
    import jax

    say("waiting for the other processes")
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--processes {processes}: {first_line(error)}") from error


def _checked(processes: str, process: int | None, coordinator: str | None) -> dict[str, Any]:
    count = int(processes) if processes.isdecimal() else 0
    if count < 1:
        raise InputError(f"--processes: got {processes!r}; expected a number from 1 on, or auto")
    if process is None or not 0 <= process < count:
        raise InputError(f"--process: got {process}; expected the number of this process, from 0 to {count - 1}")
    if coordinator is None or not coordinator.rpartition(":")[2].isdecimal():
        raise InputError(f"--coordinator: got {coordinator}; expected HOST:PORT, where the first process listens")
    return {"coordinator_address": coordinator, "num_processes": count, "process_id": process}


def count() -> int:
    """How many there are."""
    import jax

    return jax.process_count()


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    import jax

    return jax.process_index() == 0


def of_first(ask: Callable[[], Any]) -> Any:
    """What the first process answers, which alone is asked; all get it. It is made of what JSON knows.

    Raises:
        InputError: that of the first process, in all of them.
    """
    if count() == 1:
        return ask()
    answer: dict[str, Any] = {}
    if is_first():
        try:
            answer = {"value": ask()}
        except InputError as error:
            answer = {"error": str(error)}
    answer = json.loads(_sent(json.dumps(answer).encode()))
    if "error" in answer:
        raise InputError(answer["error"])
    return answer["value"]


def any_of(number: int | None) -> int | None:
    """The largest of the numbers that the processes have, None if none has one."""
    if count() == 1:
        return number
    import numpy as np
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(number or 0)))) or None


def _sent(text: bytes) -> bytes:
    """The bytes of the first process."""
    import numpy as np
    from jax.experimental import multihost_utils

    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    held = np.zeros(length, np.uint8)
    held[:] = np.frombuffer(text, np.uint8) if is_first() else 0
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(held)))


@contextmanager
def losing_none() -> Iterator[None]:
    """Within this context a process that loses another one says so and ends, for it would wait for it in vain."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if count() == 1:
            raise
        _end(first_line(error))


def _end(why: str) -> NoReturn:
    import jax

    cure = "start all processes again with --resume"
    print(f"process {jax.process_index()} has lost another one ({why[:200]}); {cure}", file=sys.stderr, flush=True)
    os._exit(LOST)  # the ordinary end waits for all processes
