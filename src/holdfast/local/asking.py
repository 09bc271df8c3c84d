"""Asking the kernel whether a lock is in the way that it does not show: one from outside this container, or over NFS.

Owns: one F_GETLK, done by a process of its own, since it needs the file open, and closing it would drop the POSIX locks of whoever
asks. flock(2) has no such question. Must not know: who is shown otherwise.
"""

from __future__ import annotations

import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

from holdfast.local.values import ByteRange

__all__ = ["hidden_lock"]

_PATIENCE_S: Final = 5.0
_FLOCK: Final = "hhqqi4x"  # struct flock of Linux: type, whence, start, length (0: to the end), pid
_SCRIPT: Final = f"""
import fcntl, os, struct, sys
number = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
asked = struct.pack({_FLOCK!r}, fcntl.F_WRLCK, 0, 0, 0, 0)
sys.stdout.buffer.write(fcntl.fcntl(number, fcntl.F_GETLK, asked))
"""


def hidden_lock(place: Path) -> tuple[bool, ByteRange] | None:
    """A lock of fcntl(2) that somebody has on the plain file at `place`: whether it is exclusive, and its bytes.

    None where there is none, or it cannot be asked.
    """
    if not sys.platform.startswith("linux") or not sys.executable or not stat.S_ISREG(place.stat().st_mode):
        return None
    import fcntl

    command = [sys.executable, "-I", "-S", "-c", _SCRIPT, str(place)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - this interpreter
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode != 0 or len(done.stdout) != struct.calcsize(_FLOCK):
        return None
    kind, _, first, length, _ = struct.unpack(_FLOCK, done.stdout)
    if kind == fcntl.F_UNLCK:
        return None
    return kind == fcntl.F_WRLCK, ByteRange(first, first + length - 1 if length else None)
