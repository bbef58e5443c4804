"""Who works for a server, which piece each of them has, and what is said to them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from optchain.lab.base.errors import InputError
from optchain.lab.base.plural import plural
from optchain.lab.models.frozen import bound
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.fitting_clients import wide_dtype
from optchain.lab.training.local import local_experiment, table_of
from optchain.lab.workers.listening import Said
from optchain.lab.workers.messages import Message, by_path, introduction, matched, require_same
from optchain.lab.workers.outer import Handed
from optchain.lab.workers.pieces import Pieces


@dataclasses.dataclass(frozen=True)
class Given:
    """What the server remembers of a piece that a worker has."""

    number: int
    step: int  # of the server, whose parameters it began with
    params: Any


class Meeting:
    """The workers that are connected to a server, by their numbers."""

    def __init__(self, built: Experiment, pieces: Pieces, tell: Callable[[str], None]) -> None:
        """
        Args:
            built: the experiment of the run.
            pieces: of the run.
            tell: receives a line for each worker that comes or goes.
        """
        self.built, self.pieces, self.tell = built, pieces, tell
        shapes = jax.eval_shape(built.start)
        self.expected = introduction(local_experiment(built).config, shapes)
        self.differences = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, wide_dtype(p)), shapes["params"])
        self.here: set[int] = set()
        self.given: dict[int, Given] = {}
        self.waiting: dict[int, Said] = {}  # for a piece

    def hear(self, said: Said, carry: Carry) -> dict[int, Handed]:
        """What a worker hands in, by the number of the piece; nothing if it has just come, or is refused.

        It then waits for a piece. Of one that is gone the piece will be given again.
        """
        if said.message is None:
            self._left(said.worker)
            return {}
        try:
            if said.worker in self.here:
                found = self._handed(said.worker, said.message, carry)
            else:
                found = {}
                self._welcome(said.worker, said.message, int(carry["step"]))
        except InputError as error:
            self.tell(f"worker {said.worker} is refused: {error}")
            said.answer.put(error)
            return {}
        self.waiting[said.worker] = said
        return found

    def give(self, carry: Carry) -> None:
        """Answer the workers that wait, as far as there are pieces for them."""
        for worker, said in list(self.waiting.items()):
            number = self.pieces.give(worker)
            if number is None:
                return
            del self.waiting[worker]
            self.given[worker] = Given(number, int(carry["step"]), carry["params"])
            whole = said.message is None or "piece" not in said.message  # at first, with what is frozen
            rest = carry["rest"] if whole else self._changing(carry)
            arrays = {"params": by_path(carry["params"]), "rest": by_path(rest)}
            said.answer.put({"piece": number, "whole": whole} | arrays)

    def close(self, farewell: Message) -> None:
        """Answer all that wait."""
        for said in self.waiting.values():
            said.answer.put(farewell)

    def _welcome(self, worker: int, message: Message, step: int) -> None:
        """Let a worker in, if it computes what the others do."""
        try:
            require_same(message, self.expected)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                "it does not say what it computes; expected a worker of this version of optchain"
            ) from error
        self.here.add(worker)
        self.tell(f"worker {worker} joined after step {step}")

    def _handed(self, worker: int, message: Message, carry: Carry) -> dict[int, Handed]:
        """What a worker hands in, if it is what it should be."""
        given, number = self.given.get(worker), message.get("piece")
        if given is None or number != given.number:
            has = "none" if given is None else given.number
            raise InputError(f"got piece {number!r}; expected the one that it has, {has}")
        logs = message.get("logs")
        if not isinstance(logs, dict) or "loss" not in logs or not all(isinstance(x, float) for x in logs.values()):
            raise InputError(f"got logs {logs!r}; expected the means of its losses and metrics")
        difference = matched(message.get("difference"), self.differences, "the difference of its parameters")
        rest = matched(message.get("rest"), self._changing(carry), "the rest of its model")
        self.pieces.take(worker)
        del self.given[worker]
        return {given.number: Handed(difference, rest, logs, int(carry["step"]) - given.step, given.params)}

    def _left(self, worker: int) -> None:
        """Note that a worker is gone."""
        self.here.discard(worker)
        self.given.pop(worker, None)
        if (said := self.waiting.pop(worker, None)) is not None:
            said.answer.put({})  # to nobody, so that its thread ends
        if self.pieces.lose(worker) is not None:
            steps = plural(table_of(self.built.config).local_steps, "step")
            self.tell(f"worker {worker} is gone; its {steps} are given to another one")

    def _changing(self, carry: Carry) -> Any:
        """The rest of the model, but for what is frozen."""
        return bound(self.built.model, carry["rest"])[1]
