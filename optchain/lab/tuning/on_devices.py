"""A study's trials on several devices of this process: one at a time on each.

Threads, for one process may use all devices, while several would each reserve the memory of all.
"""

import threading
import time
from collections.abc import Callable

import jax

from optchain.lab.base.signals import Interrupted, Signals

POLL = 0.3  # seconds between two looks at the trials


def on_devices(work: Callable[[int], None], look: Callable[[], None]) -> None:
    """Let a thread for each device do its work, and look at it now and then.

    Args:
        work: given the number of the device, on which new arrays are then made.
        look: called now and then, and at the end.

    Raises:
        Interrupted: a signal came; what was running is saved.
        Exception: what failed first, a thread or `look`; the other threads have saved what they were running.
    """
    devices, raised = jax.local_devices(), list[BaseException]()

    def on(number: int) -> None:
        try:
            with jax.default_device(devices[number]):
                work(number)
        except Interrupted:
            pass
        except BaseException as error:
            raised.append(error)

    # Daemons, for the second Ctrl-C is to end the process at once.
    threads = [threading.Thread(target=on, args=(number,), daemon=True) for number in range(len(devices))]
    with Signals() as signals:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(POLL)
            try:
                look()
            except Exception as error:  # the threads save first
                raised.append(error)
            if raised:
                signals.stop()
        if not raised:
            look()
        received = signals.received
    if raised:
        raise raised[0]
    if received:
        raise Interrupted(received)
