"""A PostgreSQL server for a test, in a folder of its own, from what the machine has installed; nothing is installed."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

USER = "postgres"  # whom Debian's package makes; the server refuses to be run by root


class Server(NamedTuple):
    """A server that runs, by the URL of a database of it."""

    url: str
    process: subprocess.Popen

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


@contextlib.contextmanager
def postgresql_server() -> Iterator[Server]:
    """A server that runs within this context; skips the test where none is installed."""
    programs, who = _programs(), _who()
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'optchain[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="optchain-postgresql-"))
    try:
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            if who:
                shutil.chown(path, USER, USER)
        new = [programs / "initdb", "-D", folder / "data", "-U", USER, "--no-sync", "--no-locale", "-E", "UTF8"]
        new += ["-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
        subprocess.run(new, check=True, capture_output=True, cwd=folder, **who)
        port = free_port()
        listening = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            command = [programs / "postgres", "-D", folder / "data", *listening]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
        server = Server(f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{port}/postgres", process)
        try:
            _wait(port, process, folder / "log")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder of the server's programs, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    if not found and elsewhere is None:
        pytest.skip("PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin or on the path")
    return (found[-1] if found else Path(str(elsewhere)).resolve()).parent


def _who() -> dict:
    """Who runs the server, for `subprocess`: another user than root."""
    if os.getuid() != 0:
        return {}
    try:
        pwd.getpwnam(USER)
    except KeyError:
        pytest.skip(f"the tests are run by root, there is no user {USER}, and PostgreSQL refuses to be run by root")
    return {"user": USER, "group": USER, "extra_groups": []}


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait(port: int, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
