"""The server's end of the connections to workers: gRPC, one stream of messages for each worker."""

import dataclasses
import hmac
import itertools
import queue
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.training.local import WORKERS
from optchain.lab.workers.messages import Message, decode, encode
from optchain.lab.workers.wire import METHOD, OPTIONS, SERVICE, TOKEN, library

GRACE = 1.0  # seconds in which workers take their last answers


@dataclasses.dataclass(frozen=True)
class Said:
    """What a worker says and waits to be answered, a message or the error to be refused with; None: it is gone."""

    worker: int
    message: Message | None
    answer: "queue.SimpleQueue[Message | InputError]" = dataclasses.field(default_factory=queue.SimpleQueue)


class Listening:
    """Takes what workers say into one queue, `said`, from which one thread answers."""

    def __init__(self, address: str) -> None:
        """
        Args:
            address: `HOST:PORT` at which it listens; port 0 is any that is free.

        Raises:
            InputError: nothing can listen there, or gRPC is not installed.
        """
        grpc = library()
        self.said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self.farewell: Message | None = None  # what everybody is answered once it is closed
        self.token, self.numbers = secrets.token_hex(16), itertools.count(1)
        self.grpc = grpc
        self.server = grpc.server(ThreadPoolExecutor(WORKERS), options=OPTIONS, maximum_concurrent_rpcs=WORKERS)
        talk = grpc.stream_stream_rpc_method_handler(self._talk)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: talk}),))
        try:
            port = self.server.add_insecure_port(address)
        except RuntimeError as error:
            raise InputError(f"gradient.listen: nothing can listen at {address!r}; {error}") from error
        self.address = f"{address.rpartition(':')[0]}:{port}"
        self.server.start()

    def close(self, farewell: Message) -> None:
        """Answer all that wait, and end the connections."""
        self.farewell = farewell
        while not self.said.empty():
            self.said.get().answer.put(farewell)
        self.server.stop(grace=GRACE).wait()

    def _talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One connection, in a thread of its own."""
        token = dict(context.invocation_metadata()).get(TOKEN, "")
        if not hmac.compare_digest(token, self.token):
            context.abort(self.grpc.StatusCode.UNAUTHENTICATED, "this server has another token")
        worker = next(self.numbers)
        # Also while the worker waits for an answer.
        context.add_callback(lambda: self.said.put(Said(worker, None)))
        for content in requests:
            answer = self._answer(worker, content)
            if not isinstance(answer, InputError):
                yield encode(answer)
                continue
            context.abort(self.grpc.StatusCode.FAILED_PRECONDITION, str(answer))

    def _answer(self, worker: int, content: bytes) -> Message | InputError:
        try:
            said = Said(worker, decode(content))
        except InputError as error:
            return error
        self.said.put(said)  # before `farewell` is looked at: what is put later than that nobody would answer
        return self.farewell if self.farewell is not None else said.answer.get()
