"""A real guard in a thread, and real applications behind it: a small uvicorn one, and a socket that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import uvicorn

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.edge.serve import Server, Tls
from holdfast.edge.settings import Limits
from holdfast.edge.upstream import Upstream
from holdfast.guarding import Guard, GuardSettings
from tests.edge.tiny import PATIENCE_S, Client
from tests.serving import Uptime

Handle = Callable[["Peer"], None]


class Peer:
    """The application's end of a connection: reads a request by its framing, writes what it is told."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.file = sock.makefile("rb")

    def head(self) -> tuple[str, dict[str, str]]:
        """The request line and the fields of the next request, lower case; ("", {}) at the end of the connection."""
        line = self.file.readline().decode("latin-1").rstrip("\r\n")
        fields: dict[str, str] = {}
        while (field := self.file.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = field.partition(":")
            fields.setdefault(name.lower(), value.strip())
        return line, fields

    def raw_head(self) -> bytes:
        """All of the next head."""
        lines = []
        while (line := self.file.readline()) not in {b"\r\n", b""}:
            lines.append(line)
        return b"".join(lines)

    def body(self, fields: dict[str, str]) -> bytes | None:
        """The content that the fields announce; None where the connection ends before."""
        if fields.get("transfer-encoding") != "chunked":
            size = int(fields.get("content-length", "0"))
            content = self.file.read(size)
            return content if len(content) == size else None
        content = b""
        while line := self.file.readline():
            if int(line, 16) == 0:
                return content if self.file.readline() else None
            content += self.file.read(int(line, 16))
            self.file.readline()
        return None

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def answer(self, body: bytes = b"ok", fields: str = "", status: str = "200 OK") -> None:
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode("latin-1") + body)

    def reset(self) -> None:
        """End the connection by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def has_ended(self) -> bool:
        """Wait until the guard ends the connection; what it still sends is dropped."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


class RawApplication:
    """Hands each connection to `handle`, on a thread of its own; what fails there fails the test at the end."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.connections = 0
        self.failures: list[BaseException] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self._is_over = False
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=[sock])
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        peer = Peer(sock)
        self._peers.append(peer)
        try:
            self.handle(peer)
        except BaseException as error:  # noqa: BLE001 - told to the test
            if not self._is_over:
                self.failures.append(error)
        finally:
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._accepting.join(PATIENCE_S)
        self._is_over = True
        for peer in self._peers:  # a guard may keep its connections
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert self.failures == [], self.failures


def forever(answer: Callable[[Peer, str, dict[str, str], bytes], None]) -> Handle:
    """Answer one request after the other until the connection ends; what comes in part is none."""

    def handle(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                line, fields = peer.head()
                body = peer.body(fields)
                if not line or body is None:
                    return
                answer(peer, line, fields, body)

    return handle


class AsgiApplication:
    """An ASGI application in uvicorn, in a thread."""

    def __init__(self, app: Any, **options: Any) -> None:
        chosen = {"log_level": "error", "lifespan": "off", "ws": "none", **options}
        self._server = uvicorn.Server(uvicorn.Config(app, **chosen))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self.socket]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.socket.close()


class Standing:
    """A guard before the application at `upstream`; `settings` are fields of GuardSettings."""

    def __init__(
        self,
        upstream: str,
        place: Path,
        *,
        users: tuple[Any, ...] = (),
        graceful_s: float = PATIENCE_S,
        tls: Tls | None = None,
        limits: Limits | None = None,
        **settings: Any,
    ) -> None:
        self.uptime = Uptime()
        if "server" not in settings:
            settings.setdefault("locks", place / "locks.db")
        settings.setdefault("host_names", ("x",))
        chosen = GuardSettings(upstream=Upstream.parse(upstream), durability=Durability.CRASH, **settings)
        self.guard = Guard(chosen, users, clock=Clock(read_uptime=self.uptime))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        ready = threading.Event()
        edge = self.guard.edge if limits is None else replace(self.guard.edge, limits=limits)
        self.server = Server(self.guard.home, edge, tls=tls, graceful_s=graceful_s, lifespan="off", on_ready=ready.set)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), name="guard")
        self.thread.start()
        assert ready.wait(PATIENCE_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def connect(self) -> Client:
        return Client(socket.create_connection(self.address, timeout=PATIENCE_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.guard.close()
