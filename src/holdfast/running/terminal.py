"""The terminal, and who is in its foreground: `holdfast run` and its command take turns, as a shell and its jobs do.

Owns: whose turn it is, and the modes of the terminal. Must not know: locks, leases, messages.

The command has a process group of its own, so that all of it can be ended at once. A group that is not in the foreground is
stopped when it reads from the terminal. It is put there from the start where it has the terminal to itself, and else when it
first wants to read: `holdfast run NAME -- COMMAND | less` leaves the terminal to less.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from typing import Any, Final

__all__ = ["Terminal"]

_WANTS_IT: Final = frozenset({signal.SIGTTIN, signal.SIGTTOU})


class Terminal:
    """The controlling terminal, if there is one. Its user has SIGTTOU ignored, or handing it over would stop the process."""

    def __init__(self) -> None:
        """Look at what this process was given; nothing is changed."""
        self._fd = _controlling()
        self._modes: list[Any] | None = None
        self.is_lent = False
        """True while the command's group is in the foreground, or would be if this job were."""
        self.is_job = self._fd is not None and os.getpgrp() == os.getpid()
        """True where a shell with job control started this process, as the first of a job."""

    @property
    def lend_at_start(self) -> int | None:
        """The descriptor of the terminal if the command has it from the start: it is alone there, and in the foreground."""
        alone = self.is_job and self._is_mine() and all(os.isatty(fd) for fd in (0, 1, 2))
        return self._fd if alone else None

    def lend(self, group: int) -> bool:
        """Put the command's group into the foreground, if this process's job is there. False where it is not."""
        if self._fd is None or not (self.is_lent or self._is_mine()):
            return False
        if self._modes is None:
            with contextlib.suppress(termios.error):
                self._modes = termios.tcgetattr(self._fd)
        self.is_lent = True
        if self._is_mine():
            with contextlib.suppress(OSError):
                os.tcsetpgrp(self._fd, group)
        return True

    def wanted_by(self, group: int, stop_signal: int) -> bool:
        """Whether a command that was stopped so wants the terminal, and can have it, or has it by now."""
        has_it = self.is_lent and self._foreground() == group
        return stop_signal in _WANTS_IT and (has_it or self._is_mine())

    def take_back(self, group: int | None, *, modes_too: bool = False) -> None:
        """Be in the foreground again, if the command's group is. `modes_too`: it had no time to put them back."""
        if self._fd is None or not self.is_lent:
            return
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(self._fd) == group:
                os.tcsetpgrp(self._fd, os.getpgrp())
            if modes_too and self._modes is not None and self._is_mine():
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._modes)

    def _is_mine(self) -> bool:
        return self._foreground() == os.getpgrp()

    def _foreground(self) -> int | None:
        if self._fd is None:
            return None
        try:
            return os.tcgetpgrp(self._fd)
        except OSError:
            return None


def _controlling() -> int | None:
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.tcgetpgrp(fd)  # an error for all but the controlling terminal of this session
            return fd
    return None
