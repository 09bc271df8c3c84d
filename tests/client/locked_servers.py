"""Servers for the client's tests that answer just what they are told, and time that passes only when it is slept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Heard", "ManualTime", "Said", "Scripted", "scripted"]


@dataclass
class ManualTime:
    """A clock and a sleeper: sleeping moves the clock, and tells `on_sleep`."""

    seconds: float = 1000.0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[float], object] = lambda seconds: None

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        self.on_sleep(seconds)

    async def asleep(self, seconds: float, /) -> None:
        self.sleep(seconds)


@dataclass(frozen=True)
class Heard:
    """A request as the server heard it."""

    method: str
    target: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Said:
    """What it answers; status 0 is no answer, and the end of the connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Scripted:
    """A running server; `answer` is asked for each request, all of which are in `heard`."""

    url: str
    heard: list[Heard] = field(default_factory=list)

    def methods(self) -> list[str]:
        return [heard.method for heard in self.heard]


@contextlib.contextmanager
def scripted(answer: Callable[[Heard], Said]) -> Iterator[Scripted]:
    """Serve what `answer` says, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def handle_any(self) -> None:
            if self.headers.get("Transfer-Encoding"):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            heard = Heard(self.command, self.path, self.headers, body)
            served.heard.append(heard)
            said = answer(heard)
            if not said.status:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        def __getattr__(self, name: str) -> object:
            if name.startswith("do_"):
                return self.handle_any
            raise AttributeError(name)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # whoever is served has closed by the end of the block, so they end

    server = Server(("127.0.0.1", 0), Handler)
    served = Scripted(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
