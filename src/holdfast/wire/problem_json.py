"""Refusals as JSON values: RFC 9457 problem details, and the 423 that extends them.

Owns: the types, encoded by the server and decoded by the client library, which loads nothing else of
the server's. Must not know: headers, pages, how contention was found.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.core.model import Depth, LockScope

__all__ = [
    "ABOUT_BLANK",
    "LOCKED_TYPE",
    "PROBLEM_CONTENT_TYPE",
    "Holder",
    "LockDescription",
    "LockedProblem",
    "Problem",
    "encode_problem",
    "parse_locked_problem",
]

ABOUT_BLANK: Final = "about:blank"
"""The `type` that says no more than the status (RFC 9457 section 4.2.1). msgspec leaves out this very object only."""

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"

LOCKED_TYPE: Final = "urn:problem-type:holdfast:locked"
"""The `type` of the problem; every server explains it at `/problems/locked`."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of RFC 9457 section 3.1. `detail` is a sentence for a person, `instance` a URI reference."""

    type: str = ABOUT_BLANK
    title: str
    status: int
    detail: str = ""
    instance: str = ""


class Holder(msgspec.Struct, frozen=True):
    """Who has a lock: the principal's name, the client's own owner text (a claim, never checked), its program."""

    name: str
    owner: str
    client: str


class LockDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One lock in the JSON of a 423. `root` and `url` are URL paths; `expires_in` is in seconds; None is without end.

    An application that has no address for a lock leaves `url` out.
    """

    id: str
    root: str
    scope: LockScope
    depth: Depth
    holder: Holder
    reason: str = ""
    since: datetime
    expires_at: datetime | None = None
    expires_in: int | None = None
    queue_length: int = 0
    url: str | UnsetType = UNSET


class LockedProblem(Problem, frozen=True, kw_only=True):
    """The JSON of a 423: a Problem with the resource, when to try again (seconds), and the locks in the way.

    For a new lock, while anybody waits: `queue_length` counts those in line with whom it conflicts, and `position` is its
    own place among them, 1 for the next, where it has one. Up to 200 are counted, here and for each lock.
    """

    resource: str
    retry_after: int
    locks: tuple[LockDescription, ...]
    queue_length: int | UnsetType = UNSET
    position: int | UnsetType = UNSET


def encode_problem(problem: Problem) -> bytes:
    """The JSON text of a Problem or of a type that extends it."""
    return msgspec.json.encode(problem)


def parse_locked_problem(body: bytes) -> LockedProblem | None:
    """Read the JSON of a 423; None where it is not one of ours."""
    try:
        return msgspec.json.decode(body, type=LockedProblem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
