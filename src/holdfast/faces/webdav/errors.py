"""RefusalError: a refusal that a handler raises, and the one table from errors below to statuses.

Owns: which status and which precondition code each error becomes. Must not know how they are rendered.
"""

from __future__ import annotations

import logging
from typing import Final

from holdfast.core.paths import InvalidPathError
from holdfast.files import (
    AccessRefusedError,
    AlreadyExistsError,
    FilesError,
    InsideItselfError,
    IsCollectionError,
    LengthMismatchError,
    NameRefusedError,
    ParentMissingError,
    ResourceNotFoundError,
    StorageFailedError,
    StorageFullError,
)
from holdfast.live.line import GivenUpError
from holdfast.store.protocol import StoreError, StoreFullError
from holdfast.wire.davxml import XmlError, XmlTooLargeError
from holdfast.wire.davxml_write import Condition
from holdfast.wire.if_header import IfSyntaxError
from holdfast.wire.rfc4918 import DestinationElsewhereError, HeaderError

__all__ = ["EXPECTED_ERRORS", "RefusalError", "as_refusal"]

_logger = logging.getLogger("holdfast.webdav")


class RefusalError(Exception):
    """The answer is `status` with a sentence for a person.

    `condition` is a precondition element to stand in DAV:error (RFC 4918 section 16), `headers` more fields.
    """

    def __init__(
        self, status: int, detail: str, *, condition: Condition | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Remember what the answer says."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.condition = condition
        self.headers = headers


# First match wins, so subclasses stand before their bases.
_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (InvalidPathError, 400),
    (HeaderError, 400),
    (IfSyntaxError, 400),
    (XmlTooLargeError, 413),
    (XmlError, 400),
    (DestinationElsewhereError, 502),
    (StorageFullError, 507),
    (StorageFailedError, 500),
    (ResourceNotFoundError, 404),
    (ParentMissingError, 409),
    (AlreadyExistsError, 405),
    (IsCollectionError, 405),
    (InsideItselfError, 403),
    (NameRefusedError, 403),
    (AccessRefusedError, 403),
    (LengthMismatchError, 400),
    (GivenUpError, 409),
    (FilesError, 500),
    (StoreFullError, 507),
    (StoreError, 503),
)

EXPECTED_ERRORS: Final[tuple[type[Exception], ...]] = tuple(kind for kind, _ in _STATUSES)
"""What may pass out of the floors below as a refusal; anything else is a fault of ours, and a 500."""


_HEADERS: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    # All but what makes a new resource (RFC 9110 section 15.5.6 requires the field).
    405: (("Allow", "OPTIONS, GET, HEAD, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"),),
    503: (("Retry-After", "1"),),
}


def as_refusal(error: Exception) -> RefusalError:
    """The refusal that an expected error becomes."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            detail = _without_paths(error) if isinstance(error, StoreError) else str(error)
            return RefusalError(status, detail, headers=_HEADERS.get(status, ()))
    raise error


def _without_paths(error: StoreError) -> str:
    """What a client is told; a store's own words are for whoever runs the server, and go to the log."""
    _logger.error("%s", error)
    if isinstance(error, StoreFullError):
        return "The disk that keeps the server's locks and properties is full; nothing was changed."
    return "The server cannot use its store of locks at the moment; its log says more."
