"""Pages by HTTP, to be read only."""

import ipaddress
import secrets
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from optchain.lab.base.errors import InputError

EVERY = 5  # seconds, after which a browser asks again
NEAR = 100  # ports that are looked at for a free one
OWN = ("localhost", "127.0.0.1", "::1")  # what a browser on this machine calls it
HEADERS = {
    "Allow": "GET, HEAD",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Serves pages to this machine; to others only with a token, which is the first part of the address."""

    daemon_threads = True

    def __init__(self, page: Callable[[str], str | None], host: str, port: int) -> None:
        """
        Args:
            page: the HTML at a path such as `""`, None where there is none.
            host: the name or the address to listen at.
            port: 0 for any that is free.

        Raises:
            InputError: the host is not one of this machine, or the port is taken.
        """
        self.page = page
        try:
            self.address_family, _, _, _, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, OverflowError) as error:
            raise InputError(f"--host {host}: {error}; expected a name or an address of this machine") from None
        listens = ipaddress.ip_address(str(address).partition("%")[0])
        self.token = None if listens.is_loopback else secrets.token_urlsafe()
        self.host = socket.gethostname() if listens.is_unspecified else host
        try:
            super().__init__((str(address), port), _Handler)
        except (OSError, OverflowError) as error:
            raise self._refused(str(address), host, port, error) from None

    @property
    def url(self) -> str:
        """The address of the first page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/{f'{self.token}/' if self.token else ''}"

    def _refused(self, address: str, host: str, port: int, error: Exception) -> InputError:
        """Why it cannot listen, with the nearest port at which it could."""
        for near in range(port + 1, min(port + NEAR, 65536)):
            with socket.socket(self.address_family, socket.SOCK_STREAM) as probe:
                try:
                    probe.bind((address, near))
                except OSError:
                    continue
                return InputError(f"--port {port}: {error}; the nearest free one is --port {near}")
        return InputError(f"--host {host} --port {port}: {error}; expected an address of this machine and a free port")


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "optchain", ""
    timeout = 10  # seconds for a request, or a silent caller would keep a thread

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        _, *parts = unquote(urlsplit(self.path).path).split("/")
        token = self.server.token
        if token is None:
            # Another site's name may have been made to lead here, so that its scripts could read the page.
            allowed = urlsplit(f"//{self.headers.get('Host', '')}").hostname in OWN
        else:
            allowed = secrets.compare_digest((parts.pop(0) if parts else "").encode(), token.encode())
        if not allowed:
            return self.send_error(HTTPStatus.FORBIDDEN)
        text = self.server.page("/".join(parts))
        if text is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Refresh", str(EVERY))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # Python answers 501 to a method for which a handler has no function; here it is one that is not allowed.
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, None
        super().send_error(code, message, explain)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...
