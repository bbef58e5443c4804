"""Connections in one process: messages of any size, another token, a server that is gone, and too few words."""

import stat
import threading

import numpy as np
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.workers.messages import encode
from optchain.lab.workers.wire import Place, read_place, write_place

pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'optchain[workers]'")

from optchain.lab.workers.connection import Connection, Gone, Stopped  # noqa: E402
from optchain.lab.workers.listening import Listening  # noqa: E402


@pytest.fixture
def echo():
    """A server that sends back what it receives, refuses `{"no": why}`, and says who is gone."""
    listening, gone = Listening("127.0.0.1:0"), []

    def serve():
        while listening.farewell is None:
            said = listening.said.get()
            if said.message is None:
                gone.append(said.worker)
            elif "wait" not in said.message:
                refused = said.message.get("no")
                said.answer.put(InputError(refused) if refused else said.message)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening, gone
    listening.close({})


def place(listening):
    return Place(listening.address, listening.token)


def test_large_messages_arrive(echo):
    listening, gone = echo
    big = np.arange(3_000_000, dtype=np.float32)  # above the usual limit of gRPC
    with Connection(place(listening), lambda: None) as one, Connection(place(listening), lambda: None) as two:
        assert two.ask({"x": 2})["x"] == 2
        np.testing.assert_array_equal(one.ask({"x": big})["x"], big)
    assert listening.address.startswith("127.0.0.1:")


def test_a_refusal_says_why(echo):
    listening, _ = echo
    with Connection(place(listening), lambda: None) as one, pytest.raises(InputError, match="another model"):
        one.ask({"no": "another model"})


def test_who_has_another_token_is_not_heard(echo):
    listening, gone = echo
    with (
        Connection(Place(listening.address, "0" * 32), lambda: None) as one,
        pytest.raises(Gone, match="another token"),
    ):
        one.ask({"x": 1})
    assert listening.said.empty() and not gone


def test_bytes_that_are_no_message_are_refused(echo):
    listening, _ = echo
    with Connection(place(listening), lambda: None) as one, pytest.raises(InputError, match="not a message"):
        one.asked.put(b"\xc1")
        one.ask({"x": 1})


def test_a_server_that_ends_answers_all_and_is_gone(echo):
    listening, _ = echo
    with Connection(place(listening), lambda: None) as one:
        assert one.ask({"x": 1}) == {"x": 1}
        listening.close({"ended": True})
        with pytest.raises(Gone):
            one.ask({"x": 2})
    with Connection(place(listening), lambda: None) as late, pytest.raises(Gone):
        late.ask({"x": 1})


def test_a_signal_is_heard_while_a_worker_waits(echo):
    listening, gone = echo
    with Connection(place(listening), lambda: 15) as one, pytest.raises(Stopped):
        one.ask({"wait": True})


def test_an_address_that_is_taken_is_named(echo):
    listening, _ = echo
    with pytest.raises(InputError, match=f"gradient.listen: nothing can listen at '{listening.address}'"):
        Listening(listening.address)


def test_the_place_is_for_the_user_alone(tmp_path):
    assert read_place(tmp_path) is None
    write_place(tmp_path, Place("127.0.0.1:1", "secret"))
    assert read_place(tmp_path) == Place("127.0.0.1:1", "secret")
    assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    (tmp_path / "server.json").write_text("{}")
    with pytest.raises(InputError, match="expected an address and a token"):
        read_place(tmp_path)


def test_a_message_holds_no_objects():
    with pytest.raises(TypeError):
        encode({"x": object()})
