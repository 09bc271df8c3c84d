"""The processes that descend from this one: finding them, and ending all of them.

Owns: reading /proc, and signals that cannot meet a stranger who was given a dead one's number. Must not know: why.

Whoever calls here has adopted its orphans (`kernel.adopt_orphans`), so a descendant stays one, whatever it does to its group,
its session or its parents; and when wait(2) says that there are no children, there are no descendants.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Found", "descendants", "kill_all_descendants", "signal_each"]

_DEAD: Final = frozenset("ZXx")
_ROUND_S: Final = 0.01


class Found(NamedTuple):
    """One process, as it was when it was looked at. `started` tells it from another with the same number."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    is_dead: bool


def descendants(root: int | None = None) -> list[Found]:
    """All that live and descend from `root` (this process), parents first; none on a system without /proc."""
    children: dict[int, list[Found]] = {}
    for pid in _numbers():
        found = _look(pid)
        if found is not None:
            children.setdefault(found.parent, []).append(found)
    family: list[Found] = []
    parents = [os.getpid() if root is None else root]
    while parents:
        found_here = [child for parent in parents for child in children.pop(parent, [])]
        family += found_here
        parents = [child.pid for child in found_here]
    return [found for found in family if not found.is_dead]


def signal_each(family: Iterable[Found], number: int) -> None:
    """Send a signal to each that is still the one that was found. What may not be signalled (it is another user's) is passed over."""
    for found in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _signal(found, number)


def kill_all_descendants() -> None:
    """SIGKILL, until there is nobody left; all are reaped. Does not return while one cannot be killed."""
    while True:
        signal_each(descendants(), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_ROUND_S)


def _signal(found: Found, number: int) -> None:
    descriptor = os.pidfd_open(found.pid)
    try:
        # The descriptor is of whoever has the number now; it stays theirs. So look once more, then signal it.
        again = _look(found.pid)
        if again is not None and again.started == found.started:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def _numbers() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _look(pid: int) -> Found | None:
    """One process; None where there is none (proc(5), /proc/pid/stat: the name in brackets may hold anything)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    state, parent, group, session = fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3])
    return Found(pid, parent, group, session, int(fields[19]), state in _DEAD)
