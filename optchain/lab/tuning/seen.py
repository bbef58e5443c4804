"""A study that is only read, also while it is searched."""

import functools
from pathlib import Path

from optchain.lab.tuning import storage
from optchain.lab.tuning.claims import Claims
from optchain.lab.tuning.clock import FolderClock
from optchain.lab.tuning.leases import FileLeases
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.trials import folder_of
from optchain.lab.tuning.tune import Tuning, reopened


class Seen(Tuning):
    """A study as it is at this moment: no lock is taken, and nothing in its folder changes."""

    @functools.cached_property
    def claims(self) -> Claims:
        """The trials so far; none of them is to be run."""
        found = storage.seen(self.study, self.folder)
        leases, clock = FileLeases(functools.partial(folder_of, self.folder)), FolderClock(self.folder)
        return Claims(self.study, found, self.folder, self.objective, leases, clock)

    @functools.cached_property
    def objective(self) -> Objective:
        """What is made as good as it can; the data that tell it are loaded once for all that is seen of a study."""
        return _objective(self.folder, (self.folder / "study.json").read_text())


def seen(tuning: Tuning) -> Seen:
    """A study as it is now."""
    return Seen(tuning.study, tuning.folder, tuning.source, tuning.command)


@functools.lru_cache(maxsize=64)
def _objective(folder: Path, _: str) -> Objective:
    """The objective of the study in a folder, whose file has this text."""
    return reopened(folder).objective
