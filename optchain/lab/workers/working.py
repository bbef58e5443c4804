"""A worker: makes the pieces that the server gives it, until the run ends."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.numerics import wide
from optchain.lab.base import compiled
from optchain.lab.base.errors import InputError, LostError
from optchain.lab.base.plural import plural
from optchain.lab.base.signals import Signals
from optchain.lab.models.frozen import bound
from optchain.lab.models.gradients import WorkerGradients
from optchain.lab.runs.run import find
from optchain.lab.training.experiment import Experiment, rebuild
from optchain.lab.training.local import local_experiment, table_of
from optchain.lab.training.program import Program
from optchain.lab.training.start import first_carry
from optchain.lab.workers.connection import Connection, Gone, Stopped
from optchain.lab.workers.messages import Message, by_path, introduction, matched
from optchain.lab.workers.wire import library, read_place

POLL = 0.5  # seconds between two attempts to reach a server
REST = "the rest of the server's model"


Say = Callable[[str], None]


class Worker:
    """Makes pieces of a run. It keeps the state of its own optimizer from one to the next."""

    def __init__(self, built: Experiment) -> None:
        """
        Args:
            built: the experiment of the run.
        """
        self.steps = table_of(built.config).local_steps
        self.local = local_experiment(built)
        self.program, self.parts = Program(self.local), self.local.parts({})
        self.shapes = jax.eval_shape(self.local.start)
        self.carry: Any = None
        self._compiled: Any = None  # the first carry from a model, and the difference of parameters

    def compile(self) -> None:
        """Compile everything, so that the first piece is not stale when it is made."""
        if self._compiled is not None:
            return
        self.program.compile_ahead(self.local.config, self.shapes, self.steps)
        params, rest = self.shapes["params"], self.shapes["rest"]
        first = jax.jit(lambda params, rest: first_carry(self.parts, params, rest))
        difference = jax.jit(lambda old, new: jax.tree.map(lambda x, y: wide(x) - wide(y), old, new))
        self._compiled = first.lower(params, rest).compile(), difference.lower(params, params).compile()

    def introduce(self) -> Message:
        """What the worker says first."""
        return introduction(self.local.config, self.shapes)

    def make(self, given: Message) -> Message:
        """What the worker has made of a piece.

        Args:
            given: by the server.
        """
        self.compile()
        began = matched(given["params"], self.shapes["params"], "the server's parameters")
        self.carry = self._beginning(began, given)
        self.carry, logs, _ = self.program.run(self.local.config, self.carry, self.steps)
        (_, rest, _), (_, difference) = bound(self.local.model, self.carry["rest"]), self._compiled
        return {
            "piece": given["piece"],
            "difference": by_path(difference(began, self.carry["params"])),
            "rest": by_path(rest),
            "logs": {name: float(np.mean(x)) for name, x in logs.items() if name != "optimizer"},
        }

    def _beginning(self, began: Any, given: Message) -> Any:
        """The carry from which a piece begins."""
        params = jax.tree.map(jnp.array, began)  # copies, for the carry is donated
        if self.carry is None:
            whole = matched(given["rest"], self.shapes["rest"], REST)
            carry = self._compiled[0](params, jax.tree.map(jnp.array, whole))
        else:
            carry, (_, inner, back) = self.carry, bound(self.local.model, self.carry["rest"])
            own = matched(given["rest"], self.shapes["rest"] if given["whole"] else inner, REST)
            own = jax.tree.map(jnp.array, own)
            carry = carry | {"rest": own if given["whole"] else back(own)}
        step = given["piece"] * self.steps  # of those of all workers
        # Schedules of the worker's optimizer follow the run, not what this worker has made of it.
        state = carry["opt_state"] | {"step": jnp.asarray(step, jnp.int32)}
        counts = {"step": jnp.asarray(step, jnp.int32)}
        counts |= {"examples": jnp.asarray(step * self.local.config.train.policy.largest, jnp.int32)}
        return carry | counts | {"params": params, "opt_state": state}


@compiled.kept()
def work(folder: Path, wait: float, tell: Say) -> int | None:
    """Work for the run in a folder until it ends, or a signal comes; the number of the signal.

    Args:
        folder: of the run.
        wait: seconds within which the server must be there, at first and wherever it is gone.
        tell: receives a line where something happens.

    Raises:
        InputError: there is no such run, or the server refuses the worker; says why.
        LostError: the server has not answered for as long.
    """
    run = find(folder)
    if not isinstance(run.config.gradient, WorkerGradients):
        raise InputError(f"{folder} holds a run without workers; expected [gradient] use = 'workers'")
    library()
    with Signals() as signals:
        worker = Worker(rebuild(run.config, str(folder / "config.json")))
        with worker.program:
            session = Session(worker, folder, tell, signals)
            while not signals.received and not session.ended:
                try:
                    session.hold()
                except Gone as gone:
                    if run.result is not None and read_place(folder) is None:
                        session.end("has ended")
                        continue
                    session.require_hope(wait, gone)
                    time.sleep(POLL)
        if signals.received:
            tell(f"left; {session.made_here}")
    return signals.received


class Session:
    """What a worker goes through with the servers of a run, one after the other if one is started again."""

    def __init__(self, worker: Worker, folder: Path, tell: Say, signals: Signals) -> None:
        self.worker, self.folder, self.tell, self.signals = worker, folder, tell, signals
        self.made, self.heard, self.misses, self.ended = 0, time.monotonic(), False, False

    @property
    def made_here(self) -> str:
        """How much was made by this worker, in words."""
        return f"{plural(self.made, 'piece')} of {plural(self.worker.steps, 'step')} made here"

    def hold(self) -> None:
        """Make pieces for the server that is there now.

        Raises:
            Gone: it is gone.
            InputError: it refuses the worker.
        """
        place = read_place(self.folder)
        if place is None:
            raise Gone("there is none")
        self.worker.compile()
        with Connection(place, lambda: self.signals.received) as server:
            message = self.worker.introduce()
            while True:
                try:
                    answer = server.ask(message)
                except Stopped:
                    return
                self.heard = time.monotonic()
                if "piece" in message:
                    self.made += 1
                elif "piece" in answer:
                    self.tell(f"joined {self.folder}{' again' if self.made or self.misses else ''}")
                    self.misses = False
                if "piece" not in answer:
                    return self.end("has ended" if answer.get("ended") else "was stopped")
                if self.signals.received:
                    return
                message = self.worker.make(answer)

    def end(self, how: str) -> None:
        """Note that there is nothing more to be made."""
        self.ended = True
        self.tell(f"the run {how}; {self.made_here}")

    def require_hope(self, wait: float, gone: Gone) -> None:
        """The server has been there within some seconds.

        Raises:
            LostError: it has not.
        """
        if time.monotonic() - self.heard > wait:
            cure = "start the run again with --resume, then join it again"
            raise LostError(f"no server of {self.folder} for {wait:g} s ({gone}); {cure}")
        if not self.misses:
            self.misses = True
            self.tell(f"no server of {self.folder} ({gone}); waiting for it for {wait:g} s")
