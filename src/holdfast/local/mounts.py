"""Which file system a path is on, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

Owns: reading that. Must not know: locks. The device that a mount tells is the one that the kernel's lock table has, where stat(2) tells another
one (btrfs subvolumes, overlayfs).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Mount", "mount_of", "parse_mounts"]

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Mount(msgspec.Struct, frozen=True):
    """A mounted file system: where, its device, and its type, such as ext4."""

    point: str
    major: int
    minor: int
    kind: str


def mount_of(place: Path) -> Mount | None:
    """The mount that the resolved path `place` is on; None where that is not known."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    found = [mount for mount in parse_mounts(text) if place.is_relative_to(mount.point)]
    # Of two at one point the later one hides the other.
    return max(reversed(found), key=lambda mount: len(mount.point), default=None)


def parse_mounts(text: str) -> list[Mount]:
    """The lines of mountinfo, in their order; those that cannot be read are passed over."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        major, _, minor = fields[2].partition(":") if len(fields) > 4 else ("", "", "")
        if major.isdecimal() and minor.isdecimal():
            point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append(Mount(point, int(major), int(minor), after.partition(" ")[0]))
    return mounts
