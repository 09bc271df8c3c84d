"""A server on a raw socket that says what a test tells it to, byte by byte, and remembers what it heard."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Misbehaving", "Talk", "misbehaving", "says"]

Talk = Callable[[socket.socket, bytes], None]
"""Answers one connection; is given what came first."""


@dataclass
class Misbehaving:
    """A running server. `url` ends in a slash; `heard` has what each connection sent first."""

    port: int
    host: str = "127.0.0.1"
    heard: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"


def says(*answers: bytes) -> Talk:
    """Each answer in turn, to one connection each, and the connection closed."""
    left = list(answers)

    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(left.pop(0))

    return talk


@contextlib.contextmanager
def misbehaving(talk: Talk, *, hears: bool = True, host: str = "127.0.0.1") -> Iterator[Misbehaving]:
    """Serve until the end of the block; with `hears` False a connection's first bytes are not waited for."""
    listener = socket.create_server((host, 0))
    server = Misbehaving(listener.getsockname()[1], host)

    def serve() -> None:
        while not server.stopping.is_set():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(20)
                heard = connection.recv(65536) if hears else b""
                server.heard.append(heard)
                if not server.stopping.is_set():
                    talk(connection, heard)

    thread = threading.Thread(target=serve, name="misbehaving")
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        with contextlib.suppress(OSError), socket.create_connection((host, server.port), timeout=5):
            pass
        thread.join(20)
        listener.close()
