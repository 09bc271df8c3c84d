"""`holdfast serve` as processes that may be killed, and a client that keeps its connection.

Owns: starting, crashing and stopping servers, with all their workers. Every name in `USERS` may log in.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from holdfast.config import Durability
from holdfast.core.model import Event, EventKind
from holdfast.store.sqlite import SqliteStore
from tests.serving import Answer, Client, Served, lockinfo

__all__ = ["USERS", "KeptClient", "ServerProcess", "events_of"]

USERS = ("alice", "bob", "carol", "dave")


@dataclass
class ServerProcess:
    """A running server; what it says on standard error lies in `log`."""

    process: subprocess.Popen[str]
    folder: Path
    state: Path
    address: tuple[str, int]
    log: Path

    @classmethod
    def start(
        cls,
        folder: Path,
        log: Path,
        *flags: str,
        state: Path | None = None,
        users: tuple[str, ...] = USERS,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> Self:
        """Serve `folder`; returns once it answers."""
        command = [sys.executable, "-m", "holdfast", "serve", str(folder), "--port", str(port), *flags]
        if state is not None:
            command += ["--state", str(state)]
        for name in users:
            command += ["--user", f"{name}:{name}-secret"]
        with log.open("a") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | dict(environment or {}),
            )
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(r"  WebDAV +http://([^:]+):(\d+)/", line)
            if found:
                return cls(process, folder, state or folder / ".holdfast", (found[1], int(found[2])), log)
        process.stdout.close()
        process.wait(30)
        raise AssertionError("the server did not start:\n" + log.read_text())

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers; none where the one process does the work itself."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == self.process.pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return sorted(found)

    def client(self, name: str = "alice") -> Client:
        """A client that opens a connection for each request."""
        return Served(self.folder, self.address[1], None, None, self.address[0]).as_(name)  # type: ignore[arg-type]

    def kept(self, name: str = "alice") -> KeptClient:
        """A client that keeps its connection."""
        return KeptClient(self.address, self.client(name).authorization or "")

    def crash(self) -> None:
        """SIGKILL to all of its processes; they are gone when this returns."""
        workers = self.workers
        for pid in (self.process.pid, *workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reap()
        for pid in workers:
            wait_for_end(pid)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(40)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def resident_kib(self) -> int:
        """The memory of the process, in KiB."""
        return resident_kib(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()


def resident_kib(pid: int) -> int:
    """The resident memory of a process, in KiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


def wait_for_end(pid: int) -> None:
    """Return once no process has this id."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], 30)[0], f"process {pid} does not end"
        finally:
            os.close(descriptor)


class KeptClient:
    """One connection, opened at need and kept; ConnectionError and HTTPException go to the caller."""

    def __init__(self, address: tuple[str, int], authorization: str) -> None:
        self.address = address
        self.authorization = authorization
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, target: str, body: bytes | None = None, **fields: str) -> Answer:
        """Send, with fields as `depth="0"`; the whole answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=40)
        headers = {name.replace("_", "-").rstrip("-"): value for name, value in fields.items()}
        try:
            self._connection.request(method, target, body, {"Authorization": self.authorization} | headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise

    def lock(self, target: str, scope: str = "exclusive", depth: str = "0", **fields: str) -> Answer:
        """LOCK with a body."""
        return self.request("LOCK", target, lockinfo(scope), depth=depth, timeout="Second-3600", **fields)

    def unlock(self, target: str, token: str) -> int:
        """UNLOCK; the status."""
        return self.request("UNLOCK", target, lock_token=f"<{token}>").status

    def close(self) -> None:
        """Give the connection up; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def events_of(state: Path) -> list[Event]:
    """The whole feed of a server that does not run any more, with no fencing token granted twice."""
    with SqliteStore(state / "locks.db", durability=Durability.CRASH) as store, store.read() as tx:
        found = tx.events_after(0, 1_000_000)
    tokens = [event.fencing_token for event in found if event.kind is EventKind.GRANTED]
    assert tokens == sorted(set(tokens)), "fencing tokens must rise, and none may come twice"
    return found
