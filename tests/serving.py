"""A real server on a real socket, in a thread of the test's process, and a client that sends just what it is told.

`serving(folder)` gives a Served; `served.as_("alice")` a Client with alice's credentials. The client
neither follows, retries, normalises nor adds fields, so that a test sees the wire. Time is moved with
`served.uptime.advance(seconds)`: nobody sleeps.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UserRecord
from holdfast.clock import Clock
from holdfast.config import Durability, Settings
from holdfast.core.access import Grant, Role
from holdfast.edge.serve import Server
from holdfast.listening import bind
from holdfast.server import Application

__all__ = ["LOCKINFO", "Answer", "Client", "Served", "Uptime", "lockinfo", "serving"]

DAV = "{DAV:}"
USERS: Mapping[str, Role | Sequence[Grant]] = {
    "alice": Role.WRITER,
    "bob": Role.WRITER,
    "rita": Role.READER,
    "root": Role.ADMIN,
}


def lockinfo(scope: str = "exclusive", owner: str = "<D:href>mailto:ada@example.org</D:href>") -> bytes:
    """A LOCK body."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:">'
        f"<D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>{owner}</D:owner></D:lockinfo>"
    ).encode()


LOCKINFO = lockinfo()


class Uptime:
    """The clock's source: real time, and what the test adds."""

    def __init__(self) -> None:
        self.added_us = 0

    def __call__(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 + self.added_us

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass for every lock, at once."""
        self.added_us += int(seconds * 1_000_000)


@dataclass
class Answer:
    """One response, whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str:
        """A field that must be there."""
        value = self.headers[name]
        assert value is not None, f"{name} is missing in {self.headers.items()}"
        return value

    @property
    def xml(self) -> ElementTree.Element:
        """The body as XML."""
        return ElementTree.fromstring(self.body)

    @property
    def token(self) -> str:
        """The lock token of a LOCK answer, without its angle brackets."""
        return self["Lock-Token"].strip("<>")

    def hrefs(self, path: str = f".//{DAV}href") -> list[str]:
        """The texts of the href elements at an ElementTree path."""
        return [element.text or "" for element in self.xml.findall(path)]

    def statuses(self) -> dict[str, int]:
        """Of a 207: each response's href with its own status, or its first propstat's."""
        found: dict[str, int] = {}
        for response in self.xml.findall(f"{DAV}response"):
            status = response.findtext(f"{DAV}status") or response.findtext(f"{DAV}propstat/{DAV}status") or ""
            found[response.findtext(f"{DAV}href") or ""] = int(status.split()[1])
        return found


@dataclass
class Client:
    """One user; a new connection for each request unless `connection` is kept."""

    host: str
    port: int
    authorization: str | None = None
    agent: str = "test"

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: str,
    ) -> Answer:
        """Send just this. `fields` are more headers: `depth="0"`, `lock_token="<...>"` (underscores become hyphens)."""
        sent = {name.replace("_", "-").rstrip("-"): value for name, value in fields.items()} | dict(headers or {})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        with contextlib.closing(connection):
            names = {name.lower() for name in sent}
            connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
            connection.putheader("User-Agent", self.agent)
            if self.authorization is not None:
                connection.putheader("Authorization", self.authorization)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None and "transfer-encoding" not in names:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def lock(
        self, target: str, scope: str = "exclusive", depth: str = "0", timeout: str = "Second-600", **fields: str
    ) -> Answer:
        """LOCK with a body; what came back, whatever it is."""
        return self.request("LOCK", target, lockinfo(scope), depth=depth, timeout=timeout, **fields)

    def locked(self, target: str, scope: str = "exclusive", depth: str = "0", **fields: str) -> str:
        """LOCK that must be granted; the token."""
        answer = self.lock(target, scope, depth, **fields)
        assert answer.status in {200, 201}, (answer.status, answer.body)
        return answer.token

    def unlock(self, target: str, token: str) -> Answer:
        """UNLOCK."""
        return self.request("UNLOCK", target, lock_token=f"<{token}>")

    def put(self, target: str, body: bytes = b"text", **fields: str) -> Answer:
        """PUT."""
        return self.request("PUT", target, body, **fields)

    def get(self, target: str, **fields: str) -> Answer:
        """GET."""
        return self.request("GET", target, **fields)

    def propfind(self, target: str, *names: str, depth: str = "0", **fields: str) -> Answer:
        """PROPFIND of DAV properties by local name; none: allprop."""
        wanted = "".join(f"<D:{name}/>" for name in names)
        body = f'<D:propfind xmlns:D="DAV:"><D:prop>{wanted}</D:prop></D:propfind>'.encode() if names else None
        return self.request("PROPFIND", target, body, depth=depth, **fields)


@dataclass
class Served:
    """A running server."""

    folder: Path
    port: int
    application: Application
    uptime: Uptime
    host: str = "127.0.0.1"
    users: dict[str, Role | Sequence[Grant]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The base URL, with no slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def anonymous(self) -> Client:
        """Without credentials."""
        return Client(self.host, self.port)

    def as_(self, name: str, password: str | None = None, agent: str = "test") -> Client:
        """With credentials; every user's password is the name with `-secret` behind it."""
        text = f"{name}:{password if password is not None else name + '-secret'}"
        return Client(self.host, self.port, "Basic " + base64.b64encode(text.encode()).decode(), agent)


_HASHES: dict[str, str] = {}


def _record(name: str, granted: Role | Sequence[Grant]) -> UserRecord:
    if name not in _HASHES:
        _HASHES[name] = Passwords().hash(f"{name}-secret")
    return UserRecord(name, _HASHES[name], (Grant(granted),) if isinstance(granted, Role) else tuple(granted))


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    users: Mapping[str, Role | Sequence[Grant]] | None = USERS,
    durability: Durability = Durability.CRASH,
    **settings: Any,
) -> Iterator[Served]:
    """Serve `folder` until the end of the block. `users` None: nobody has to log in. `settings`: fields of Settings."""
    uptime = Uptime()
    chosen = Settings(folder=folder, durability=durability, port=0, **settings)
    chosen.state_folder.mkdir(exist_ok=True)
    records = tuple(_record(name, role) for name, role in (users or {}).items())
    application = Application(chosen, records, clock=Clock(read_uptime=uptime))
    [sock] = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    ready = threading.Event()
    server = Server(application.home, application.edge, graceful_s=2, lifespan="off", on_ready=ready.set)
    thread = threading.Thread(target=server.run, args=([sock],), name="test-server")
    thread.start()
    try:
        assert ready.wait(20), "the server did not start"
        yield Served(folder, port, application, uptime, users=dict(users or {}))
    finally:
        server.stop()
        thread.join(20)
        application.close()
        sock.close()
