"""The lock servers that are compared, and how a lock is asked for at each: Holdfast's API, and Redis as it is usually used.

Owns: starting them, and the octets of their requests. The home-made lock is what is commonly built on Redis: `SET` with a
random value, `NX` and a time to live; a script that deletes the key if the value is still one's own; and asking again every
100 ms while it is taken (the default of redis-py's own lock).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from benchmarks.api.talk import Answer, Connection, TalkError, frame_http, frame_redis
from benchmarks.instances import cpu_seconds, end, free_port, memory_mib

__all__ = ["POLL_S", "Held", "HoldfastApi", "MissingServerError", "RedisLock", "holdfast", "redis"]

POLL_S = 0.1
_START_S = 30.0


class MissingServerError(Exception):
    """A server is not installed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that was granted: what names it, and the secret that releases it."""

    name: str
    secret: str


@dataclass(frozen=True, slots=True)
class _Running:
    port: int
    session: int

    def memory_mib(self) -> float:
        """Of all processes of the server: proportional set size."""
        return memory_mib(self.session)

    def cpu_seconds(self) -> float:
        """Of all processes of the server, user and system."""
        return cpu_seconds(self.session)


class HoldfastApi(_Running):
    """The lock API of a running Holdfast."""

    def connect(self) -> Connection:
        """A new connection."""
        return Connection(self.port, frame_http)

    def acquire(self, name: str, number: int, *, wait: float = 0.0) -> bytes:
        """Ask for a lock; `number` is not used, as the server makes up the secret."""
        del number
        return _http("POST", "/api/locks", {"resource": f"/bench/{name}", "ttl": 3600, "wait": wait})

    def held(self, name: str, number: int, answer: Answer) -> Held | None:
        """The lock, where it was granted."""
        del name, number
        if answer.status == 423:
            return None
        if answer.status != 201:
            raise TalkError(f"{answer.status}: {answer.body[:300].decode()}")
        told = json.loads(answer.body)
        return Held(told["id"], told["token"])

    def release(self, lock: Held) -> bytes:
        """End it."""
        return _http("DELETE", f"/api/locks/{lock.name}", None, f"Lock-Token: <{lock.secret}>\r\n")

    def refresh(self, locks: list[Held]) -> bytes:
        """Restart the timer of one lock, or of many in one call."""
        if len(locks) == 1:
            return _http("POST", f"/api/locks/{locks[0].name}/refresh", {"token": locks[0].secret})
        items = [{"id": lock.name, "token": lock.secret} for lock in locks]
        return _http("POST", "/api/locks/refresh", {"locks": items})

    def listen(self) -> bytes:
        """Ask for the stream of events."""
        return _http("GET", "/api/events", None, "Accept: text/event-stream\r\n")


class RedisLock(_Running):
    """The home-made lock on a running Redis."""

    _RELEASE = 'if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end'
    _REFRESH = (
        'if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("pexpire",KEYS[1],3600000) else return 0 end'
    )

    def connect(self) -> Connection:
        """A new connection."""
        return Connection(self.port, frame_redis)

    def acquire(self, name: str, number: int, *, wait: float = 0.0) -> bytes:
        """Ask for a lock with a secret of one's own. It cannot wait."""
        del wait
        return _resp("SET", f"lock:{name}", f"secret-{number}", "NX", "PX", "3600000")

    def held(self, name: str, number: int, answer: Answer) -> Held | None:
        """The lock, where it was granted."""
        if answer.status == ord("-"):
            raise TalkError(answer.body.decode())
        return Held(f"lock:{name}", f"secret-{number}") if answer.body == b"OK" else None

    def release(self, lock: Held) -> bytes:
        """End it, if it is still one's own."""
        return _resp("EVAL", self._RELEASE, "1", lock.name, lock.secret)

    def refresh(self, locks: list[Held]) -> bytes:
        """Restart the timer of one lock."""
        return _resp("EVAL", self._REFRESH, "1", locks[0].name, locks[0].secret)


def _http(method: str, path: str, body: dict[str, Any] | None, fields: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}"
    if body is None:
        return f"{head}\r\n".encode()
    text = json.dumps(body)
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def _resp(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words)


@contextlib.contextmanager
def holdfast(folder: Path, *, workers: int = 1, durability: str = "crash") -> Generator[HoldfastApi]:
    """A server without users, whose limits let a thousand wait or listen."""
    port = free_port()
    folder.mkdir()
    served = folder / "served"
    served.mkdir()
    program = Path(__file__).with_name("many_connections.py")
    command = [sys.executable, str(program), str(served), str(port), str(workers), durability]
    with _started(command, folder, "answers now") as session:
        yield HoldfastApi(port, session)


@contextlib.contextmanager
def redis(folder: Path, *, fsync: str = "everysec") -> Generator[RedisLock]:
    """Redis with its append-only file, synced as said: `everysec` is its usual setting, `always` before each answer."""
    program = which("redis-server")
    if program is None:
        raise MissingServerError("redis-server is not installed")
    port = free_port()
    folder.mkdir()
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "appendfsync": fsync, "save": ""}
    command = [program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    with _started(command, folder, "Ready to accept connections") as session:
        yield RedisLock(port, session)


@contextlib.contextmanager
def _started(command: list[str], folder: Path, sign: str) -> Generator[int]:
    """The session of a server, which says `sign` once it answers."""
    said = folder / "output.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until = time.monotonic() + _START_S
        while sign not in said.read_text(errors="replace") and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.0)  # workers that are still starting belong to the idle figure
        if process.poll() is not None or time.monotonic() > until:
            raise TalkError(f"{command[0]} did not start: {said.read_text(errors='replace')[-600:]}")
        yield process.pid
    finally:
        end(process)
