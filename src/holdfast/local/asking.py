"""Asking the kernel whether a lock is in the way that it does not show: one from outside this container, or over the network.

Owns: when there may be one, and one F_GETLK, done by a process of its own, since it needs the file open, and closing it would drop the POSIX
locks of whoever asks. flock(2) has no such question. Must not know: who is shown otherwise.

Opening breaks a lease that somebody has (fcntl(2), F_SETLEASE), as any reader does, so nothing is opened where all locks are to be seen.
"""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

from holdfast.local.mounts import Mount
from holdfast.local.values import ByteRange

__all__ = ["hidden_lock", "may_be_hidden"]

_PATIENCE_S: Final = 5.0
_FIRST_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel's proc_ns.h
_ON_OTHER_MACHINES: Final = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "ceph", "lustre", "gfs2", "ocfs2", "afs")
_FLOCK: Final = "hhqqi4x"  # struct flock of Linux: type, whence, start, length (0: to the end), pid
_SCRIPT: Final = f"""
import fcntl, os, struct, sys
number = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
asked = struct.pack({_FLOCK!r}, fcntl.F_WRLCK, 0, 0, 0, 0)
sys.stdout.buffer.write(fcntl.fcntl(number, fcntl.F_GETLK, asked))
"""


def may_be_hidden(mount: Mount | None) -> bool:
    """Whether there may be locks that `/proc/locks` does not show here: of other machines, or of processes outside this PID namespace."""
    if not sys.platform.startswith("linux"):
        return False
    if mount is not None and mount.kind.startswith(_ON_OTHER_MACHINES):
        return True
    try:
        return os.readlink("/proc/self/ns/pid") != _FIRST_NAMESPACE
    except OSError:
        return True


def hidden_lock(place: Path) -> tuple[bool, ByteRange] | None:
    """A lock of fcntl(2) that somebody has on the plain file at `place`: whether it is exclusive, and its bytes.

    None where there is none, or it cannot be asked.
    """
    if not sys.executable or not stat.S_ISREG(place.stat().st_mode):
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
