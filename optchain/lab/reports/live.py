"""A page about a folder, made again when the folder's files have changed."""

import html
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.reports.page import notes, page_of

IDLE = 4.0  # times what a page took to make, before the next: watching takes a fifth of a core at most
# What reports are made of. A process that searches writes its clock and its lock several times a second.
READ = {"config.json", "run.json", "task.json", "result.json", "metrics.jsonl", "lint.json"}
READ |= {"study.json", "study.journal", "trials.csv", "comparison.json"}
APART = {"checkpoints", "snapshots", "damaged", "profile", "clock"}  # folders without any of these
MAKING = threading.Lock()  # of all pages: Matplotlib's settings are those of the whole process


class Live:
    """The newest page about a folder."""

    def __init__(self, folder: Path, make: Callable[[Path], str]) -> None:
        """
        Args:
            folder: which may be written meanwhile, or not be there yet.
            make: the page, of the folder; what it raises is shown in its place.
        """
        self.folder, self.make = folder, make
        self.files: set[tuple[str, int, int]] | None = None  # of which the page was made
        self.text, self.rests = "", 0.0

    def page(self) -> str:
        """The page as HTML, made again if files have changed."""
        with MAKING:
            files = set(_files(self.folder))
            if files != self.files and time.monotonic() >= self.rests:
                began = time.monotonic()
                self.text, self.files = self._made(), files
                self.rests = time.monotonic() + IDLE * (time.monotonic() - began)
            return self.text

    def _made(self) -> str:
        try:
            return self.make(self.folder)
        except InputError as error:
            said = str(error)
        except Exception as error:  # whatever it is: the next files may be whole, and the server goes on
            said = f"{type(error).__name__}: {error}"
        failed = f'<p class="sub">No report can be made of {html.escape(str(self.folder))} as it is now.</p>'
        return page_of("No report", [failed, notes([said])])


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """The path, the size and the time of what a report is made of."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in APART]
        for name in READ.intersection(names):
            try:
                found = os.stat(path := os.path.join(place, name))
            except OSError:  # removed since
                continue
            # The table of trials is written again and again; where it says something else, it is longer.
            yield path, found.st_size, 0 if name == "trials.csv" else found.st_mtime_ns
