"""A terminal in which a person types: a shell under a pseudo-terminal, its screen, and Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

_SPAWN = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Terminal:
    """Runs `script` with bash; `screen` is everything that was shown, as lines."""

    def __init__(self, script: str, cwd: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SPAWN, "bash", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=cwd,
            env=environment | {"TERM": "dumb"},
        )
        self._shown = b""
        self._read = 0
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._watch)
        self._reader.start()

    @property
    def screen(self) -> str:
        with self._changed:
            return self._shown.decode().replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Until `text` is shown, after whatever was waited for before."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(lambda: wanted in self._shown[self._read :] or self._ended, 60)
            assert wanted in self._shown[self._read :], f"no {text!r} in:\n{self._shown.decode()}"
            self._read = self._shown.index(wanted, self._read) + len(wanted)

    def type(self, text: str) -> None:
        """Send keys."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def wait(self) -> int:
        """Until the shell has ended; its exit code."""
        code = self._process.wait(60)
        self._reader.join(60)
        return code

    def close(self) -> None:
        """End everything that is left."""
        if self._process.poll() is None:
            self._process.kill()  # the shell under it is hung up on
        self._process.wait(60)
        self._reader.join(60)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _watch(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 65_536):
            with self._changed:
                self._shown += chunk
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
