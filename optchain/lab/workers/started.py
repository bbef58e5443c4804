"""The workers that a server starts by itself, as processes that end with it."""

import multiprocessing
import sys
from pathlib import Path

from optchain.lab.base.children import follow_parent, one_core_each
from optchain.lab.base.errors import InputError, LostError

WAIT = 10.0  # seconds in which a worker that was told to end does so


class Started:
    """Worker processes of a run."""

    def __init__(self, folder: Path, count: int) -> None:
        """
        Args:
            folder: of the run.
            count: how many; if several each computes with one thread, or they would wait for one another.
        """
        context = multiprocessing.get_context("spawn")  # what JAX has started does not survive a fork
        self.processes = [context.Process(target=_work, args=(folder,)) for _ in range(count)]
        with one_core_each(count):
            for process in self.processes:
                process.start()
        self.told: set[int] = set()  # those of which it is known that they are gone

    @property
    def any(self) -> bool:
        """Whether there is one that is alive."""
        return any(process.is_alive() for process in self.processes)

    @property
    def failed(self) -> bool:
        """Whether all have ended because of an error, which they have printed."""
        return bool(self.processes) and all((process.exitcode or 0) > 0 for process in self.processes)

    def news(self) -> list[str]:
        """A line for each that has ended since the last time."""
        lines = []
        for number, process in enumerate(self.processes):
            if process.exitcode and number not in self.told:
                self.told.add(number)
                how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
                lines.append(f"a worker process has ended with {how}")
        return lines

    def end(self) -> None:
        """Wait for all, and kill those that do not end."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(WAIT)
            if process.is_alive():
                process.kill()
                process.join()


def _work(folder: Path) -> None:
    follow_parent()
    from optchain.lab.workers.working import work

    try:
        work(folder, wait=WAIT, tell=lambda line: None)
    except (InputError, LostError) as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(getattr(error, "code", 2))
