"""The command as people run it: a real process, its words and its exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "holdfast", *map(str, arguments)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and no wish for colours."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "FORCE_", "CLICOLOR"))}
    return kept | {"HOME": str(home), "TERM": "dumb", "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a command to its end."""

    def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), input=stdin, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path
        )

    return run


class Server:
    """A server that `holdfast serve` started; `lines` is what it said until it was ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        else:
            assert process.stderr is not None
            pytest.fail("the server did not start:\n" + "\n".join(self.lines) + process.stderr.read())

    @property
    def webdav_url(self) -> str:
        found = re.search(r"^  WebDAV +(\S+)$", "\n".join(self.lines), re.MULTILINE)
        assert found is not None
        return found[1]

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, and what it still said on standard output and in all on standard error."""
        self.process.send_signal(number)
        rest, errors = self.process.communicate(timeout=30)
        return self.process.returncode, rest, errors


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `holdfast serve` on a free port; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def serve(*arguments: object) -> Server:
        process = subprocess.Popen(
            command("serve", *arguments, "--port", "0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
            start_new_session=True,  # so that a test can send a signal to all of its processes, and to no others
        )
        processes.append(process)
        return Server(process)

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to serve."""
    path = tmp_path / "documents"
    path.mkdir()
    (path / "plan.txt").write_text("a plan\n")
    return path
