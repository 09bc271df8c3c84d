"""Folder: a folder on disk, served as resources.

Owns: reading (stat, open, members, etag, quota, spelling) and, through `Changes`, every way to change
it. Must not know: HTTP, locks, XML, permissions of principals. Paths are relative to the folder: `/` is
the folder itself.

What is not served does not exist here: reserved names (see `names`), devices, pipes and sockets, links
that lead outside or nowhere, and names that no URL can spell (not UTF-8, control characters, a
backslash).
"""

from __future__ import annotations

import io
import os
import stat
import sys
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from holdfast.core.paths import ResourcePath
from holdfast.files.beneath import COLLECTION, READ, Beneath
from holdfast.files.changes import Changes
from holdfast.files.errors import FolderUnusableError, NameRefusedError, ResourceNotFoundError, refusal_of
from holdfast.files.names import servable_names
from holdfast.files.resource import Resource, resource_from
from holdfast.files.staging import Staging

__all__ = ["Folder"]

_SMALL_COLLECTION_BYTES: Final = 4096
"""One block: some 100 names on ext4 and XFS, 200 on tmpfs and Btrfs, listed in a millisecond or two."""

_FORMS: Final = ("NFC", "NFD")


class Folder(Changes):
    """One served folder. Safe to use from any number of threads; several processes may serve the same one."""

    def __init__(
        self, folder: Path, *, state: Path | None = None, durable: bool = True, use_openat2: bool = True
    ) -> None:
        """Open `folder`, and stage in `state` (default `folder`/.holdfast). FolderUnusableError.

        With `durable`, every change is on the disk before its function returns. `use_openat2` is for tests.
        """
        if sys.getfilesystemencoding() != "utf-8":
            msg = "names on disk are read as UTF-8: start with PYTHONUTF8=1 or a UTF-8 locale"
            raise FolderUnusableError(msg)
        beneath = Beneath(folder, use_openat2=use_openat2)
        try:
            self.staging: Final = Staging(beneath, folder, state, durable=durable)
        except FolderUnusableError:
            beneath.close()
            raise
        super().__init__(beneath, self.staging, durable=durable)

    def close(self) -> None:
        """Drop what is still staged and close everything; harmless when repeated."""
        self.staging.close()
        self._beneath.close()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def stat(self, path: ResourcePath) -> Resource | None:
        """What is at `path`; None for nothing. AccessRefusedError, StorageFailedError."""
        try:
            return resource_from(path, self._beneath.stat(path))
        except OSError as error:
            return _absent(error)

    def etag_of(self, path: ResourcePath) -> str | None:
        """The strong entity tag of a plain resource; None for a collection and for nothing. Errors as `stat`."""
        found = self.stat(path)
        return None if found is None else found.etag

    def open(self, path: ResourcePath) -> tuple[BinaryIO, Resource] | None:
        """A plain resource's bytes (unbuffered, for the caller to close), and what they belong to.

        The resource describes the very file that was opened, whatever happens at the path later. None for
        a collection and for nothing. AccessRefusedError, StorageFailedError.
        """
        try:
            descriptor = self._beneath.open(path, READ)
        except OSError as error:
            return _absent(error)
        found = resource_from(path, os.fstat(descriptor))
        if found is None or found.is_collection:
            os.close(descriptor)
            return None
        return cast("BinaryIO", io.FileIO(descriptor)), found

    def members(self, path: ResourcePath) -> list[Resource]:
        """The members of a collection, by name. ResourceNotFoundError where there is no collection; else as `stat`."""
        try:
            descriptor = self._beneath.open(path, COLLECTION)
        except OSError as error:
            raise refusal_of(error) from error
        try:
            return self._members(path.prefix, descriptor)
        except OSError as error:
            raise refusal_of(error) from error
        finally:
            os.close(descriptor)

    def _members(self, prefix: str, descriptor: int) -> list[Resource]:
        found: list[Resource] = []
        look = os.stat
        for name in servable_names(os.listdir(descriptor)):
            path = ResourcePath(prefix + name)
            try:
                status = look(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    status = self._beneath.stat(path)
            except OSError:
                continue  # gone since, a link that leads nowhere we serve, or not for us to see
            resource = resource_from(path, status)
            if resource is not None:
                found.append(resource)
        return found

    def is_small(self, path: ResourcePath) -> bool:
        """True for a collection of a few members (by its own size on the disk), and for what is no collection."""
        try:
            found = self._beneath.stat(path)
        except OSError:
            return True
        return not stat.S_ISDIR(found.st_mode) or found.st_size <= _SMALL_COLLECTION_BYTES

    def quota(self) -> tuple[int, int]:
        """(available, used) bytes (RFC 4331 sections 3 and 4): what the file system gives us, and what it has given.

        Used is all that is used on the file system that the folder lies on, not the folder's own size.
        """
        try:
            found = os.statvfs(self._beneath.root)
        except OSError as error:
            raise refusal_of(error) from error
        return found.f_bavail * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize

    def spelling(self, path: ResourcePath) -> ResourcePath:
        """`path` with each non-ASCII name as it is on disk, where it is there in the other normal form (NFC or NFD).

        macOS sends NFD, most others NFC, for the same name. Names that are there in neither stay as given.
        """
        if path.text.isascii() or self._is_there(path):
            return path
        settled = ""
        for name in path.segments:
            settled = f"{settled}/{name}"
            if name.isascii() or self._is_there(ResourcePath(settled)):
                continue
            above = settled[: -len(name)]
            for form in _FORMS:
                other = above + unicodedata.normalize(form, name)
                if other != settled and self._is_there(ResourcePath(other)):
                    settled = other
                    break
        return ResourcePath(settled)

    def _is_there(self, path: ResourcePath) -> bool:
        try:
            self._beneath.stat(path)
        except OSError:
            return False
        return True


def _absent(error: OSError) -> None:
    """None for what is not there, or cannot be by its name; the FilesError for anything else."""
    refusal = refusal_of(error)
    if not isinstance(refusal, ResourceNotFoundError | NameRefusedError):
        raise refusal from error
