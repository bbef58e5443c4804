"""The server: a program whose steps are made of what workers hand in."""

import math
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.doing import say
from optchain.lab.base.errors import LostError
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.runs.config import Config
from optchain.lab.training import seconds
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.local import NONE, WORKERS, pieces_of, table_of
from optchain.lab.training.program import Program
from optchain.lab.workers.listening import Listening
from optchain.lab.workers.meeting import Meeting
from optchain.lab.workers.outer import Handed, Outer
from optchain.lab.workers.pieces import Pieces
from optchain.lab.workers.started import Started
from optchain.lab.workers.wire import PLACE, Place, write_place

POLL = 0.3  # seconds between two looks at whether there are workers
ALONE = 60.0  # seconds without any worker after which the server gives up, where it had started some


class ServedProgram(Program):
    """The program of a run with workers. While it is entered it listens, and has workers of its own.

    Between two calls of `run` nobody is answered: evaluations and checkpoints are of the parameters as they stand.
    """

    def __init__(self, experiment: Experiment, folder: Path, tell: Callable[[str], None] = say) -> None:
        """
        Args:
            experiment: with the table of workers.
            folder: of the run.
            tell: receives a line for each worker that comes or goes.
        """
        super().__init__(experiment)
        self.folder, self.tell, self.table = folder, tell, table_of(experiment.config)
        self.outer = Outer(experiment, self.table.examples * experiment.config.train.policy.largest)
        self.meeting: Meeting | None = None  # from the first step on
        self.handed: dict[int, Handed] = {}  # for the next step, by piece
        self.complete = False  # whether all workers that it has started have been there together

    def __enter__(self) -> None:
        self.listening = Listening(self.table.listen)
        write_place(self.folder, Place(self.listening.address, self.listening.token))
        self.started = Started(self.folder, self.table.workers)
        self.seen = self.looked = time.monotonic()  # when there was a worker, and when it was looked for one

    def __exit__(self, *_: object) -> None:
        (self.folder / PLACE).unlink(missing_ok=True)
        farewell = {"ended": self.meeting is not None and self.meeting.pieces.all_made}
        if self.meeting is not None:
            self.meeting.close(farewell)
        self.listening.close(farewell)
        self.started.end()
        super().__exit__()

    def run(
        self, config: Config, carry: Carry, steps: int, hyper: dict[str, float] | None = None
    ) -> tuple[Carry, dict[str, Any], dict[str, float]]:
        """So many steps of the server, fewer if a signal comes; see `Program.run`.

        Raises:
            LostError: all workers that it had started are gone, and no other one came.
            Interrupted: a signal came before the first step.
        """
        took, logs = seconds.none_yet(), []
        if self.meeting is None:
            self.meeting = self._begun(config, carry)
            with seconds.spent(took, "compiling"):  # as the workers do before the first of them hands in something
                self._gather(self.meeting, carry, may_stop=False)
        meeting = self.meeting
        with seconds.spent(took, "training"):
            while len(logs) < steps and self._gather(meeting, carry, may_stop=bool(logs)):
                handed, self.handed = [self.handed[number] for number in sorted(self.handed)], {}
                carry, row = self.outer(carry, handed, hyper or {})
                logs.append(jax.tree.map(np.asarray, row | {"workers": len(meeting.here)}))
            meeting.give(carry)  # so that they work while the server evaluates
        still, unmade = np.full(WORKERS, NONE, np.int32), [*meeting.pieces.open, *self.handed]
        still[: len(unmade)] = unmade
        carry = carry | {"pieces": {"open": jnp.asarray(still)}}
        whole = jax.tree.map(lambda *xs: np.stack(xs), *logs)
        return carry, whole, {name: took[name] for name in ("compiling", "training")}

    def _begun(self, config: Config, carry: Carry) -> Meeting:
        """Nobody is there yet, and some pieces may have been made before."""
        again = [int(number) for number in carry["pieces"]["open"] if number != NONE]
        done = int(carry["step"]) * self.table.together
        return Meeting(self.experiment, Pieces(pieces_of(config), self.table.together, done, again), self.tell)

    def _gather(self, meeting: Meeting, carry: Carry, may_stop: bool) -> bool:
        """Take what as many workers hand in as step together; whether it is all there, for a signal may come before."""
        while len(self.handed) < self.table.together:
            # Else the first one to have loaded makes most of a short run alone.
            self.complete = self.complete or len(meeting.here) >= self.started.alive
            if self.complete:
                meeting.give(carry)
            if Signals.of_main is not None and (received := Signals.of_main.received) is not None:
                if may_stop:
                    return False
                raise Interrupted(received)
            self._look(meeting)
            try:
                self.handed |= meeting.hear(self.listening.said.get(timeout=POLL), carry)
            except queue.Empty:
                continue
        return True

    def _look(self, meeting: Meeting) -> None:
        """See now and then whether there are workers."""
        now = time.monotonic()
        if now - self.looked < POLL:
            return
        self.looked = now
        for line in self.started.news():
            self.tell(line)
        if meeting.here or self.started.alive:
            self.seen = now
            return
        if self.started.failed or now - self.seen > (ALONE if self.table.workers else math.inf):
            cure = "the last checkpoint is kept: start the run again with --resume"
            raise LostError(f"no worker of {self.folder} is left; {cure}")
