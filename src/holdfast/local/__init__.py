"""Who holds a local file: the processes that have locked it, and the lock files that programs put beside it.

    >>> from holdfast.local import holders
    >>> holders("/dev/null")
    []

No server is needed. The file itself is never opened, for closing it again would drop the POSIX locks that this very process may
have on it (POSIX.1-2017, fcntl).
"""

from __future__ import annotations

from holdfast.local.looking import holders, look
from holdfast.local.values import ByteRange, HolderKind, LocalHolder, LocalLook, Process, Strength

__all__ = ["ByteRange", "HolderKind", "LocalHolder", "LocalLook", "Process", "Strength", "holders", "look"]
