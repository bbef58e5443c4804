"""How long a study has been searched, by the clock."""

import json
import time
import uuid
from pathlib import Path

from optchain.lab.base.files import write_whole


class Clock:
    """The seconds in which at least one process has searched: those of all sessions, also of killed ones, together.

    Each process keeps a file in the folder `clock` of the study, with when it began and when it was last heard of.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.began = folder / "clock" / f"{uuid.uuid4().hex}.json", time.time()

    def tick(self) -> None:
        """Note that this process is still searching."""
        self.path.parent.mkdir(exist_ok=True)
        write_whole(self.path, json.dumps([self.began, time.time()]))

    def spent(self) -> float:
        """The seconds up to now."""
        self.tick()
        seconds, end = 0.0, 0.0
        for first, last in sorted(json.loads(path.read_text()) for path in self.path.parent.glob("*.json")):
            seconds += max(last - max(first, end), 0.0)
            end = max(end, last)
        return seconds
