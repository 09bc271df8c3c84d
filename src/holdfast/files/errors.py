"""Why the folder could not do what was asked: a closed set of errors.

Owns: the error classes, each with the HTTP status it usually becomes, and the one table that turns the
system's error numbers into them. Must not know: HTTP, beyond naming a status in a docstring.
Texts never hold a path of the machine: they may be shown to a client.
"""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

__all__ = [
    "AccessRefusedError",
    "AlreadyExistsError",
    "FilesError",
    "FolderUnusableError",
    "InsideItselfError",
    "IsCollectionError",
    "LengthMismatchError",
    "NameRefusedError",
    "ParentMissingError",
    "Refusals",
    "ResourceNotFoundError",
    "StorageFailedError",
    "StorageFullError",
    "refusal_of",
]


class FilesError(Exception):
    """What every error of this floor is."""


class FolderUnusableError(FilesError):
    """The folder cannot be served at all (missing, unreadable, not a folder); the text says why. At start only."""


class ResourceNotFoundError(FilesError):
    """Nothing is there that is served. Usually 404."""


class ParentMissingError(FilesError):
    """The collection that should hold the resource is not there (RFC 4918 sections 9.3.1, 9.7.1). Usually 409."""


class IsCollectionError(FilesError):
    """A collection stands where a plain resource is to be written (RFC 4918 section 9.7.2). Usually 405."""


class AlreadyExistsError(FilesError):
    """The name is taken: 405 for a new collection (RFC 4918 section 9.3.1), 412 for COPY and MOVE (10.6)."""


class InsideItselfError(FilesError):
    """Source and destination are one, or one holds the other (RFC 4918 sections 9.8.5, 9.9.4). Usually 403."""


class AccessRefusedError(FilesError):
    """The system forbids it, or the name is reserved or leads outside. Usually 403."""


class NameRefusedError(FilesError):
    """The file system takes no such name (too long, or with a character it refuses). Usually 403 or 414."""


class LengthMismatchError(FilesError):
    """Fewer or more bytes came than were announced, so nothing was kept. Usually 400."""


class StorageFullError(FilesError, OSError):
    """No room, or the quota is used up; what was there before is intact. Usually 507."""


class StorageFailedError(FilesError, OSError):
    """The system failed otherwise (an input/output error, too many open files). Usually 500."""


_CLASS_OF: Final[dict[int, type[FilesError]]] = {
    errno.ENOENT: ResourceNotFoundError,
    errno.ENOTDIR: ResourceNotFoundError,
    errno.ELOOP: ResourceNotFoundError,
    errno.ESTALE: ResourceNotFoundError,
    errno.ENXIO: ResourceNotFoundError,
    errno.ENODEV: ResourceNotFoundError,
    errno.EEXIST: AlreadyExistsError,
    errno.ENOTEMPTY: AlreadyExistsError,
    errno.EISDIR: IsCollectionError,
    errno.EACCES: AccessRefusedError,
    errno.EPERM: AccessRefusedError,
    errno.EROFS: AccessRefusedError,
    errno.EBUSY: AccessRefusedError,
    errno.ETXTBSY: AccessRefusedError,
    errno.ENAMETOOLONG: NameRefusedError,
    errno.EILSEQ: NameRefusedError,
    errno.EINVAL: NameRefusedError,
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EFBIG: StorageFullError,
    errno.EMLINK: StorageFullError,
}

_TEXT_OF: Final[dict[type[FilesError], str]] = {
    ResourceNotFoundError: "there is no such resource",
    AlreadyExistsError: "a resource of that name exists already",
    IsCollectionError: "a collection has that name",
    AccessRefusedError: "the server may not do that there",
    NameRefusedError: "the file system does not take that name",
    StorageFullError: "no room is left on the storage",
}


def refusal_of(error: OSError) -> FilesError:
    """Give the error of this floor for one of the system, to be raised from it."""
    if isinstance(error, FilesError):
        return error
    number = error.errno or errno.EIO
    kind = _CLASS_OF.get(number, StorageFailedError)
    text = _TEXT_OF.get(kind) or f"the storage failed ({errno.errorcode.get(number, number)})"
    return kind(number, text) if issubclass(kind, OSError) else kind(text)


class Refusals:
    """`with Refusals():` turns every OSError into its FilesError; `missing` is the class for ENOENT."""

    __slots__ = ("_missing",)

    def __init__(self, missing: type[FilesError] = ResourceNotFoundError) -> None:
        self._missing = missing

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate."""
        if isinstance(error, OSError) and not isinstance(error, FilesError):
            refusal = refusal_of(error)
            if isinstance(refusal, ResourceNotFoundError) and self._missing is not ResourceNotFoundError:
                refusal = self._missing("the collection that should hold it is not there")
            raise refusal from error
