"""Real programs against a real server: `holdfast serve` as a process of its own, two users."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

USERS = ("alice", "bob")


@dataclass
class Serving:
    """A server process. `url` is WebDAV's, with the slash at the end."""

    process: subprocess.Popen[str]
    folder: Path
    url: str

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.split("/")[2]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL, as a power cut to the process."""
        self.process.kill()
        self.process.wait(30)


Start = Callable[..., Serving]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(folder, *flags)`: serve a folder; all servers end with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(folder: Path | None = None, *flags: str, users: tuple[str, ...] = USERS) -> Serving:
        served = folder or tmp_path / "served"
        served.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "holdfast", "serve", str(served), "--port", "0", *flags]
        for name in users:
            command += ["--user", f"{name}:{name}-secret"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(r"  WebDAV +(\S+)", line)
            if found:
                return Serving(process, served, found[1])
        assert process.stderr is not None
        pytest.fail("the server did not start: " + process.stderr.read())

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def serving(start: Start) -> Serving:
    return start()


def run(*command: object, ok: bool = True, stdin: str | None = None, **options: object) -> str:
    """Run a program to its end; what it said on both streams. It must succeed, unless `ok` is false."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        **options,  # type: ignore[call-overload]
    )
    assert not ok or done.returncode == 0, done.stdout
    return done.stdout
