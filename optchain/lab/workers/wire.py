"""What both ends of a connection agree on: the method, its limits, and the file that says where the server is."""

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import PART, naming

SERVICE, METHOD, TOKEN = "optchain.Workers", "Talk", "optchain-token"
PLACE = "server.json"  # the file, in the folder of the run
# No limit on the size of a message; and who does not answer for half a minute is gone, also without a word.
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # the one that counts in newer versions
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
]


def library() -> Any:
    """gRPC.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("grpc")
    except ModuleNotFoundError as error:
        cure = "pip install 'optchain[workers]'"
        raise InputError(f"gradient.use: 'workers' needs the package grpcio; {cure}") from error


class Place(NamedTuple):
    """Where a server listens, and what it asks those for who talk to it."""

    address: str
    token: str


def write_place(folder: Path, place: Place) -> None:
    """Say in a run's folder where its server is, to the user alone."""
    part = (folder / PLACE).with_suffix(PART)
    with naming(part):
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(json.dumps(place._asdict()) + "\n")
        part.replace(folder / PLACE)


def read_place(folder: Path) -> Place | None:
    """Where the server of a run is; None if there is none."""
    try:
        return Place(**json.loads((folder / PLACE).read_text()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / PLACE}: {error}; expected an address and a token") from error
