"""Resource: what is known of one resource from its place on disk.

Owns: the value, its entity tag and how both follow from a stat. Must not know: how it was opened.

Entity tags are strong: inode, modification time in nanoseconds, size. A replaced file is a new inode;
because a freed inode number may come back within one tick of the kernel's clock, whatever the server
writes gets a modification time with digits of its own below the millisecond (see `staging`).
Collections have none: their listing shows sizes and times of members, which change without them.
"""

from __future__ import annotations

import os
import stat

import msgspec

from holdfast.core.paths import ResourcePath
from holdfast.files.media import media_type_of

__all__ = ["Resource", "resource_from"]


class Resource(msgspec.Struct, frozen=True, gc=False):
    """One resource at one instant.

    `size` in bytes (0 for a collection); `modified_ns` and `created_ns` in nanoseconds since 1970.
    The creation time is the inode's change or modification time, whichever is earlier: the birth
    time of a file that is replaced at each write would say no more.
    """

    path: ResourcePath
    is_collection: bool
    size: int
    modified_ns: int
    created_ns: int
    inode: int

    @property
    def etag(self) -> str | None:
        """The strong entity tag, in its quotes (RFC 9110 section 8.8.3); None for a collection."""
        if self.is_collection:
            return None
        return f'"{self.inode:x}-{self.modified_ns:x}-{self.size:x}"'

    @property
    def media_type(self) -> str | None:
        """The media type by the name's suffix, without parameters; None for a collection."""
        return None if self.is_collection else media_type_of(self.path.text)


def resource_from(path: ResourcePath, found: os.stat_result) -> Resource | None:
    """The resource for a stat; None for what is never served (devices, sockets, pipes, a link itself)."""
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        size = found.st_size
    elif kind == stat.S_IFDIR:
        size = 0
    else:
        return None
    modified = found.st_mtime_ns
    changed = found.st_ctime_ns
    return Resource(path, kind == stat.S_IFDIR, size, modified, min(changed, modified), found.st_ino)
