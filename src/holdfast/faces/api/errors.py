"""RefusalError: a refusal that a handler raises, and the one table from errors below to statuses.

Owns: which status each error becomes, and rendering it as problem+json (RFC 9457), whatever Accept says: a
program reads it. Only the 423 is negotiated, since people meet it (`wire.locked`).
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from holdfast.core.paths import InvalidPathError
from holdfast.faces.api.bodies import EndedLock, EndedProblem
from holdfast.live.line import GivenUpError
from holdfast.store.protocol import StoreError, StoreFullError
from holdfast.wire.exchange import Response
from holdfast.wire.if_header import IfSyntaxError
from holdfast.wire.problem import PROBLEM_CONTENT_TYPE, encode_problem
from holdfast.wire.problem_json import ABOUT_BLANK
from holdfast.wire.rfc4918 import HeaderError

__all__ = ["ENDED_TYPE", "EXPECTED_ERRORS", "RefusalError", "as_refusal", "render"]

_logger = logging.getLogger("holdfast.api")

ENDED_TYPE: Final = "urn:problem-type:holdfast:lock-ended"
"""The `type` of what is said about a lock that has ended; the member `ended` tells how."""


class RefusalError(Exception):
    """The answer is `status` with a sentence for a person, and `ended` where a lock is no more."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        ended: EndedLock | None = None,
    ) -> None:
        """Remember what the answer says."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.ended = ended

    def problem(self) -> EndedProblem:
        """What the body says."""
        return EndedProblem(
            type=ABOUT_BLANK if self.ended is None else ENDED_TYPE,
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail.encode("utf-8", "replace").decode(),
            ended=self.ended,
        )


def render(error: RefusalError) -> Response:
    """The refusal as a response."""
    headers = [
        ("Content-Type", PROBLEM_CONTENT_TYPE),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *error.headers,
    ]
    return Response(error.status, headers, encode_problem(error.problem()))


# First match wins, so subclasses stand before their bases.
_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (InvalidPathError, 400),
    (HeaderError, 400),
    (IfSyntaxError, 400),
    (GivenUpError, 409),
    (StoreFullError, 507),
    (StoreError, 503),
)

EXPECTED_ERRORS: Final[tuple[type[Exception], ...]] = tuple(kind for kind, _ in _STATUSES)
"""What may pass out of the floors below as a refusal; anything else is a fault of ours, and a 500."""


def as_refusal(error: Exception) -> RefusalError:
    """The refusal that an expected error becomes. A store's own words are for whoever runs the server."""
    if isinstance(error, StoreError):
        _logger.error("%s", error)
        if isinstance(error, StoreFullError):
            return RefusalError(507, "The disk that keeps the server's locks is full; nothing was changed.")
        detail = "The server cannot use its store of locks at the moment; its log says more."
        return RefusalError(503, detail, headers=(("Retry-After", "1"),))
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return RefusalError(status, str(error))
    raise error
