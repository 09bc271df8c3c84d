"""Other processes that hold a file, each in its own way: what the tests look at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SQLITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
connection.execute("INSERT INTO t VALUES (0)")
for statement in sys.argv[3].split(";"):
    cursor = connection.execute(statement)
    if statement.startswith("SELECT"):
        cursor.fetchone()
"""

_SCRIPTS = {
    "posix": "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)",
    "posix-shared": "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_SH)",
    "ofd": (
        "import fcntl, struct, sys; file = open(sys.argv[1], 'r+b'); "
        "fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))"
    ),
    "lease": "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)",
    "open": "import sys; file = open(sys.argv[1], 'r+b')",
    "read": "import sys; file = open(sys.argv[1], 'rb')",
    "sqlite": _SQLITE,
}


@contextmanager
def held(how: str, path: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that holds the file at `path` until the end of the block."""
    script = _SCRIPTS[how] + "\nprint('ready', flush=True)\nsys.stdin.read()\n"
    with running([sys.executable, "-c", script, str(path), *more]) as process:
        yield process


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes a line once it is ready, and ends when its input does."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == b"ready"
        yield process
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
