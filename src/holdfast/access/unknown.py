"""What is answered to a request that nobody is known by: one rule for all faces.

Owns: 401 or 429, and the words. They are the same for every name: whether it exists is never told.
"""

from __future__ import annotations

import msgspec

__all__ = ["UnknownAnswer", "answer_unknown"]


class UnknownAnswer(msgspec.Struct, frozen=True):
    """A status, a sentence for a person, and the fields that the status demands."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...]


def answer_unknown(authorization: str | None, wait_s: int, challenge: str) -> UnknownAnswer:
    """429 while guesses are slowed for `wait_s` more seconds, else 401 with `challenge` (RFC 9110 section 15.5.2)."""
    if wait_s > 0:
        # Not 401: a client would throw its password away and ask the person for another.
        detail = f"Too many wrong passwords; try again in {wait_s} s."
        return UnknownAnswer(429, detail, (("Retry-After", str(wait_s)),))
    if authorization is None:
        detail = "This server asks for a name and a password."
    else:
        detail = "The name or the password is wrong; an API token may also have ended."
    return UnknownAnswer(401, detail, (("WWW-Authenticate", challenge),))
