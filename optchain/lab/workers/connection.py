"""A worker's end of its connection to the server."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Self

from optchain.lab.base.errors import InputError
from optchain.lab.workers.messages import Message, decode, encode
from optchain.lab.workers.wire import METHOD, OPTIONS, SERVICE, TOKEN, Place, library

POLL = 0.3  # seconds between two looks at whether a signal came


class Gone(Exception):
    """The server does not answer, or not any more."""


class Stopped(Exception):
    """A signal came while the worker waited."""


class Connection:
    """A stream of messages to the server and back; used as a context."""

    def __init__(self, place: Place, stopped: Callable[[], Any]) -> None:
        """
        Args:
            place: where the server is.
            stopped: whether a signal came.
        """
        self.grpc, self.stopped = library(), stopped
        self.asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.answered: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self.channel = self.grpc.insecure_channel(place.address, options=OPTIONS)
        talk = self.channel.stream_stream(f"/{SERVICE}/{METHOD}")
        self.call = talk(iter(self.asked.get, None), metadata=((TOKEN, place.token),))
        # In a thread, so that a signal is heard while nothing comes.
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def ask(self, message: Message) -> Message:
        """What the server answers.

        Raises:
            InputError: it refuses the message; says why.
            Gone: it does not answer.
            Stopped: a signal came.
        """
        self.asked.put(encode(message))
        while True:
            try:
                answer = self.answered.get(timeout=POLL)
            except queue.Empty:
                if self.stopped():
                    raise Stopped from None
                continue
            if isinstance(answer, Exception):
                raise answer
            return decode(answer)

    def _read(self) -> None:
        try:
            for content in self.call:
                self.answered.put(content)
            self.answered.put(Gone("it has ended the connection"))
        except self.grpc.RpcError as error:
            self.answered.put(self._meaning(error))

    def _meaning(self, error: Any) -> Exception:
        """What an error of gRPC means here."""
        codes = self.grpc.StatusCode
        match error.code():
            case codes.FAILED_PRECONDITION:
                return InputError(error.details())
            case codes.UNAUTHENTICATED | codes.RESOURCE_EXHAUSTED:
                return Gone(error.details())
            case _:  # many words of the network
                return Gone("it does not answer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.put(None)
        self.call.cancel()
        self.channel.close()
        self.reading.join()
