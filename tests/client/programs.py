"""Programs of their own for the client's tests: one that holds a lock, and the servers of others.

Owns: starting and ending them. A server of others that is not installed is a failure in CI, and a skip elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers import PEERS, Place

__all__ = ["Holder", "peer"]


class Holder:
    """A process that holds a lock; see `holder.py`."""

    def __init__(self, kind: str, url: str, ttl: float) -> None:
        program = str(Path(__file__).with_name("holder.py"))
        self.process = subprocess.Popen(
            [sys.executable, program, kind, url, str(ttl)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.line() == "held"

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """SIGSTOP; it is stopped when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def wake(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def ask(self) -> tuple[str, list[str]]:
        """What `ensure` says now, and what the signals say."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.line(), self.line().split()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def peer(name: str) -> Generator[str]:
    """Somebody else's WebDAV server (`apache` or `wsgidav`) on an empty tree, for the block; its URL."""
    # Not below pytest's folders: Apache, started by root, serves as nobody, who may not get through them.
    with tempfile.TemporaryDirectory(prefix="holdfast-peer-") as folder:
        Path(folder).chmod(0o755)
        with _peer_in(Path(folder), name) as url:
            yield url


@contextlib.contextmanager
def _peer_in(folder: Path, name: str) -> Generator[str]:
    place = Place(tree=folder / "tree", state=folder / "state", port=_free_port(), held=0)
    for part in (place.tree, place.state):
        part.mkdir(parents=True)
        part.chmod(0o777)
    launch = PEERS[name].prepare(place)
    process = subprocess.Popen(
        launch.command,
        env={**os.environ, **launch.environment},
        cwd=place.state,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(place.port, process)
        yield f"http://127.0.0.1:{place.port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
