"""What is known of each status code, as data: its name, its source, what it must carry, and what a client may do next.

Owns: the answer for every code from 100 to 599, those that nobody has assigned included. Simulator, pages and inspector
read it here, so that they cannot disagree. Must not know: requests, responses, or how any of it is sent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from holdfast.wire.statuses.client_errors import CLIENT_ERRORS
from holdfast.wire.statuses.redirects import REDIRECTS
from holdfast.wire.statuses.server_errors import SERVER_ERRORS
from holdfast.wire.statuses.successes import SUCCESSES
from holdfast.wire.statuses.unassigned import unassigned
from holdfast.wire.statuses.values import (
    Content,
    Registration,
    Requirement,
    Retry,
    RetryAdvice,
    Source,
    StatusClass,
    StatusField,
    StatusInfo,
)

__all__ = [
    "FIRST_CODE",
    "LAST_CODE",
    "REGISTERED_CODES",
    "Content",
    "Registration",
    "Requirement",
    "Retry",
    "RetryAdvice",
    "Source",
    "StatusClass",
    "StatusField",
    "StatusInfo",
    "status_info",
]

FIRST_CODE: Final = 100
LAST_CODE: Final = 599
"""Codes have three digits, the first of which is 1 to 5 (RFC 9110 section 15)."""

_BY_CODE: Final = {info.code: info for info in (*SUCCESSES, *REDIRECTS, *CLIENT_ERRORS, *SERVER_ERRORS)}

REGISTERED_CODES: Final = tuple(sorted(_BY_CODE))
"""The codes that IANA's registry lists, rising; the reserved 306 and 418 are among them."""


@lru_cache(maxsize=LAST_CODE - FIRST_CODE + 1)
def status_info(code: int) -> StatusInfo:
    """All that is known of `code`; ValueError outside of 100 to 599."""
    if not FIRST_CODE <= code <= LAST_CODE:
        message = f"A status code is a number from {FIRST_CODE} to {LAST_CODE}, not {code}."
        raise ValueError(message)
    known = _BY_CODE.get(code)
    return unassigned(code) if known is None else known
