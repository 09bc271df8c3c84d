"""A real server under attack, and a client that sends bytes, whatever they are."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from tests.serving import Client
from tests.survival.processes import ServerProcess

__all__ = ["PATIENCE_S", "Target", "field", "requests_left"]

PATIENCE_S = 20.0
CLOSED = 0
"""In place of a status: the server closed the connection without a word."""


def field(name: str, value: str) -> str:
    return f"{name}: {value}\r\n"


@dataclass
class Target:
    """A server process under attack."""

    server: ServerProcess

    @property
    def client(self) -> Client:
        return self.server.client("alice")

    def send(self, data: bytes | Iterable[bytes], *, end: bool = False) -> tuple[int, bytes]:
        """Send bytes and take what comes until the server closes or says no more: (status, all of it).

        `end`: tell the server that no more will come. A server may answer and close before all was sent.
        """
        with socket.create_connection(self.server.address, timeout=PATIENCE_S) as connection:
            parts = [data] if isinstance(data, bytes) else data
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
                if end:
                    connection.shutdown(socket.SHUT_WR)
            return _answer(connection)

    def head(self, method: str, target: str, fields: str = "", *, host: str = "x") -> bytes:
        """A request's head by alice, with `Connection: close`, that `fields` (whole lines) add to."""
        authorization = field("Authorization", self.client.authorization or "")
        lines = f"{method} {target} HTTP/1.1\r\n{field('Host', host)}{authorization}{field('Connection', 'close')}"
        return f"{lines}{fields}\r\n".encode("latin-1")

    def ask(self, method: str, target: str, fields: str = "", body: bytes | None = None) -> tuple[int, bytes]:
        """A request that is well framed."""
        length = "" if body is None else field("Content-Length", str(len(body)))
        return self.send(self.head(method, target, fields + length) + (body or b""))

    def is_well(self) -> bool:
        """True when a normal request gets its normal answer."""
        return (
            self.client.put("/dav/well", b"well").status in {201, 204} and self.client.get("/dav/well").body == b"well"
        )


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    found = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(1 << 16):
            found += more
    if not found:
        return CLOSED, b""
    assert found.startswith(b"HTTP/1.1 "), found[:100]
    return int(found[9:12]), found


def requests_left(answer: bytes) -> int:
    """How many answers came; more than one where one request was taken for two."""
    return len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", answer))
