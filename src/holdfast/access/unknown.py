"""What is answered to a request that nobody is known by: one rule for all faces.

Owns: 401 or 429, the words, and which challenge goes with them. The words are the same for every name: whether it exists is never told.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from holdfast.access.basic import BASIC_CHALLENGE
from holdfast.access.tokens import BEARER_CHALLENGE

__all__ = ["CHALLENGE", "Lack", "UnknownAnswer", "answer_unknown"]

CHALLENGE: Final = f"{BASIC_CHALLENGE}, {BEARER_CHALLENGE}"
"""The WWW-Authenticate value of a 401: both schemes, the one of people and their programs first (RFC 9110 section 11.6.1)."""


class Lack(enum.Enum):
    """Why nobody is known by a request; the value is what its sender is told."""

    NOTHING_SENT = "This server asks for a name and a password."
    WRONG = "The name or the password is wrong; an API token may also have ended."
    SESSION_ENDED = "The session has ended; log in again."
    SESSION_ELSEWHERE = "A session counts only for what a page of this server asks for, and this request does not say that it came from one."


class UnknownAnswer(msgspec.Struct, frozen=True):
    """A status, a sentence for a person, and the fields that the status demands."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...]


def answer_unknown(lack: Lack, wait_s: int = 0, *, from_script: bool = False) -> UnknownAnswer:
    """429 while guesses are slowed for `wait_s` more seconds, else 401 with a challenge (RFC 9110 section 15.5.2).

    Basic is left out `from_script`: a browser would show its own box for a name and a password over the page, whose
    script leads to the login form instead. Bearer, for which no browser asks anybody, keeps the 401 well-formed.
    """
    if wait_s > 0:
        # Not 401: a client would throw its password away and ask the person for another.
        detail = f"Too many wrong passwords; try again in {wait_s} s."
        return UnknownAnswer(429, detail, (("Retry-After", str(wait_s)),))
    challenge = BEARER_CHALLENGE if from_script else CHALLENGE
    return UnknownAnswer(401, lack.value, (("WWW-Authenticate", challenge),))
