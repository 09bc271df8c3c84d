"""What Linux does for a supervisor, and Python 3.11 has no name for.

Owns: prctl(2) and timerfd_create(2), by ctypes. Must not know: what they are for. On other systems each says that it is not
there, and whoever asks looks at the clock more often, or at the process group alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Any, Final

__all__ = ["BoottimeTimer", "adopt_orphans", "hear_parents_death", "name_process"]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_CLOCK_BOOTTIME: Final = 7
_TFD_NONBLOCK: Final = 0o4000
_TFD_CLOEXEC: Final = 0o2000000
_TFD_TIMER_ABSTIME: Final = 1

_libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _prctl(option: int, argument: Any) -> bool:
    return _libc is not None and _libc.prctl(option, argument, 0, 0, 0) == 0


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends (PR_SET_CHILD_SUBREAPER); False where that cannot be."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def hear_parents_death(signal_number: int) -> bool:
    """Be sent this signal when the thread that forked this process ends (PR_SET_PDEATHSIG); False where that cannot be."""
    return _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number))


def name_process(name: str) -> bool:
    """Be called so in `ps` and `top`; 15 bytes at most."""
    return _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


class BoottimeTimer:
    """A descriptor that becomes readable at an instant of CLOCK_BOOTTIME: at once after a sleep of the machine that was longer."""

    def __init__(self) -> None:
        """Unset. Where the system has no such timer, `is_there` is False and `set` does nothing."""
        self._fd = -1
        if _libc is not None:
            self._fd = _libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
        self._at = float("inf")

    @property
    def is_there(self) -> bool:
        """True where the system has it."""
        return self._fd >= 0

    def fileno(self) -> int:
        """For a selector."""
        return self._fd

    def set(self, at: float) -> None:
        """Fire at `at`, in seconds of `boottime`; infinite for never."""
        if not self.is_there or at == self._at:
            return
        self._at = at
        value = _Timespec(0, 0)
        if at != float("inf"):
            whole = max(int(at), 0)
            value = _Timespec(whole, max(int((at - whole) * 1e9), 1))
        spec = _Itimerspec(_Timespec(0, 0), value)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """It has fired, and was seen: it is unset."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._at = float("inf")

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
