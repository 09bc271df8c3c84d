"""A real edge in a thread, tiny faces, and a client that speaks bytes."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import IO, Self, TypeVar

from holdfast.core.access import ANONYMOUS, Principal
from holdfast.edge.serve import Server, Tls
from holdfast.edge.settings import SLOW, EdgeConfig, Limits, Slow, mounted
from holdfast.wire.exchange import Request, Response, Sink

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long a test waits for what must happen; passing tests never wait that long."""


def wait_until(is_so: Callable[[], object]) -> None:
    """Look again and again, for things that no event tells of; fails after `PATIENCE_S`."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        os.sched_yield()


class Identity:
    """`Basic x` is known at once, `Basic slow` needs a thread, anything else is wrong."""

    def identify_now(self, head: Request) -> Principal | Slow | None:
        authorization = head.headers.get(b"authorization")
        if authorization is None:
            return ANONYMOUS
        return SLOW if authorization == "Basic slow" else None

    def identify_slowly(self, head: Request) -> Principal | None:
        return Principal("slow-" + threading.current_thread().name.split("_")[0], ())


class Settled:
    """Nothing is ever held, or needs a sync."""

    has_held = False
    has_unsynced = False

    def hold(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def commit_held(self) -> None:
        pass

    def sync(self) -> None:
        raise AssertionError


class Uploads:
    """Makes uploads in temporary files and remembers what became of them."""

    def __init__(self, write_error: OSError | None = None) -> None:
        self.write_error = write_error
        self.made: list[TinyUpload] = []

    def __call__(self) -> TinyUpload:
        upload = TinyUpload(self.write_error)
        self.made.append(upload)
        return upload


class TinyUpload:
    def __init__(self, write_error: OSError | None) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by discard
        self.length = 0
        self.write_error = write_error
        self.discarded = threading.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.length += self.file.write(data)

    def discard(self) -> None:
        self.file.close()
        self.discarded.set()


class Beats:
    """A pulse that does what tests ask of it, on the edge's thread; wanted from the first thing asked on."""

    def __init__(self, rest_s: float = 0.002) -> None:
        self.is_wanted = False
        self.rest_s = rest_s
        self.asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.count = 0

    def beat(self) -> float:
        self.count += 1
        with contextlib.suppress(queue.Empty):
            while True:
                self.asked.get_nowait()()
        return self.rest_s

    def do(self, work: Callable[[], T]) -> T:
        """What `work` gives, done in a beat."""
        done: Future[T] = Future()
        self.asked.put(lambda: done.set_result(work()))
        return done.result(PATIENCE_S)


class Ticket:
    """A Pending that notes what is asked of it, and answers when it is told to, or hastened."""

    def __init__(
        self, at_start: Response | Exception | None = None, at_hasten: Response | Exception | None = None
    ) -> None:
        self.at_start = at_start
        self.at_hasten = at_hasten
        self.answer: Callable[[Response], None]
        self.started = threading.Event()
        self.abandoned = threading.Event()
        self.calls: list[str] = []

    def start(self, answer: Callable[[Response], None]) -> None:
        self.answer = answer
        self._note("start", self.at_start)
        self.started.set()

    def abandon(self) -> None:
        self._note("abandon", None)
        self.abandoned.set()

    def hasten(self) -> None:
        self._note("hasten", self.at_hasten)

    def _note(self, call: str, then: Response | Exception | None) -> None:
        self.calls.append(call)
        assert not threading.current_thread().name.startswith("holdfast")  # the threads that faces are called on
        if isinstance(then, Exception):
            raise then
        if then is not None:
            self.answer(then)


class Broadcast:
    """A Stream that sends when it is told to, and notes its end."""

    def __init__(self, *at_start: bytes, error: Exception | None = None, ends: bool = False) -> None:
        self.at_start = at_start
        self.error = error
        self.ends = ends
        self.sink: Sink
        self.started = threading.Event()
        self.stopped = threading.Event()
        self.calls: list[str] = []

    def start(self, sink: Sink) -> None:
        self.sink = sink
        self.calls.append("start")
        for data in self.at_start:
            assert sink.send(data)
        if self.error is not None:
            raise self.error
        if self.ends:
            sink.end()
        self.started.set()

    def stop(self) -> None:
        self.calls.append("stop")
        self.stopped.set()


@dataclass
class TinyFace:
    """Answers by a function; notes every request that it was called with."""

    answer: Callable[[Request], Response]
    refuse: Callable[[Request], Response | None] = lambda _: None
    brief: bool = True
    calls: list[Request] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)

    def admit(self, head: Request) -> Response | None:
        return self.refuse(head)

    def is_brief(self, request: Request) -> bool:
        return self.brief

    def __call__(self, request: Request) -> Response:
        self.calls.append(request)
        self.threads.append(threading.current_thread().name)
        return self.answer(request)


def echo(request: Request) -> Response:
    """What was understood, one line each, then the body."""
    body = request.body if isinstance(request.body, bytes) else f"upload of {request.body.length}".encode()
    name = request.principal.name if request.principal else "nobody"
    head = f"{request.method}\n{request.target}\n{request.query}\n{name}\n"
    return Response(200, [("content-type", "text/plain")], head.encode() + body)


async def plain_app(scope, receive, send) -> None:
    """An ASGI application that answers with the body's length, and ends early on /early."""
    if scope["type"] != "http":
        return
    size = 0
    more = scope["path"] != "/early"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"asgi {scope['path']} {size}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Edge:
    """A server in a thread of this process, on a free port."""

    def __init__(
        self,
        face: TinyFace,
        *,
        limits: Limits | None = None,
        settle: object = None,
        uploads: Callable[[], TinyUpload] | None = None,
        tls: Tls | None = None,
        graceful_s: float = PATIENCE_S,
        app=plain_app,
        identifier: object = None,
        pulse: object = None,
        observe: Callable[[Request, Response], None] | None = None,
    ) -> None:
        config = EdgeConfig(
            route=mounted({"/dav": face}, star=face),
            identifier=identifier or Identity(),
            settle=settle or Settled(),
            new_upload=uploads or Uploads(),
            pulse=pulse or Beats(),
            limits=limits or Limits(),
            observe=observe,
            threads=4,
        )
        ready = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.server = Server(app, config, tls=tls, graceful_s=graceful_s, lifespan="off", on_ready=ready.set)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), name="edge")
        self.thread.start()
        assert ready.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def connect(self, context: ssl.SSLContext | None = None) -> Client:
        sock = socket.create_connection(self.address, timeout=PATIENCE_S)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        return Client(sock)


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """One connection; reads answers by their framing and by nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def request(self, method: str, target: str, body: bytes = b"", fields: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}{length}\r\n".encode("latin-1") + body)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; `method` is what was asked, since an answer to HEAD has no body."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        pairs = [line.split(": ", 1) for line in head[1:-2]]
        fields = {name.lower(): value for name, value in pairs}
        assert len(fields) == len(pairs), f"a field came twice: {pairs}"
        if method == "HEAD" or status in {100, 204, 304}:
            return Answer(status, fields, b"")
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self._exactly(size)
                assert self._exactly(2) == b"\r\n"
            assert self._exactly(2) == b"\r\n"
            return Answer(status, fields, body)
        if "content-length" in fields:
            return Answer(status, fields, self._exactly(int(fields["content-length"])))
        return Answer(status, fields, self.rest())

    def head(self) -> dict[str, str]:
        """The fields of an answer whose body is read by `exactly`."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")[1:-2]
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    def chunk(self) -> bytes:
        """One chunk of a body; empty is the last."""
        data = self._exactly(int(self._until(b"\r\n"), 16))
        assert self._exactly(2) == b"\r\n"
        return data

    def ask(self, method: str, target: str, body: bytes = b"", fields: str = "") -> Answer:
        self.request(method, target, body, fields)
        return self.answer(method)

    def rest(self) -> bytes:
        """All until the server closes; a reset counts as a fault."""
        data, self._buffer = self._buffer, b""
        while more := self.socket.recv(65536):
            data += more
        return data

    def is_closed_by_server(self) -> bool:
        """Wait for the end of the connection; a reset is an end too."""
        with contextlib.suppress(ConnectionError):
            assert self.rest() == b""
        return True

    def is_cut_off(self) -> bool:
        """Read all that comes; True when the end is a reset or comes in the middle of an answer."""
        try:
            self.answer()
        except (AssertionError, ConnectionError):
            return True
        return False

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size:
            more = self.socket.recv(1 << 20)
            assert more, "the answer was cut short"
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _more(self) -> None:
        more = self.socket.recv(65536)
        assert more, f"the connection ended after {self._buffer!r}"
        self._buffer += more
