"""The Basic scheme (RFC 7617): an Authorization field becomes a name and a password.

Owns: the grammar, and the challenge that asks for it. Must not know: whether the password is right. A parser
of hostile input: it answers None for whatever is not Basic credentials, and never raises.
"""

from __future__ import annotations

import binascii
import unicodedata
from base64 import b64decode
from typing import Final

import msgspec

__all__ = ["BASIC_CHALLENGE", "MAX_AUTHORIZATION_CHARACTERS", "Credentials", "parse_basic"]

BASIC_CHALLENGE: Final = 'Basic realm="Holdfast", charset="UTF-8"'
"""The challenge that asks for a name and a password (RFC 7617 section 2.1)."""

MAX_AUTHORIZATION_CHARACTERS: Final = 4096


class Credentials(msgspec.Struct, frozen=True):
    """What the client claims. Never shown: the password is in it."""

    name: str
    password: str

    def __repr__(self) -> str:
        """The name alone, so that no log or traceback can show the password."""
        return f"Credentials(name={self.name!r})"


def parse_basic(authorization: str) -> Credentials | None:
    """Read `Basic` and base64 of `name:password`, in UTF-8 or, where it is not that, Latin-1; None for anything else.

    The field goes on being read as Latin-1 for older clients, which RFC 7617 appendix B.2 allows for.
    """
    if len(authorization) > MAX_AUTHORIZATION_CHARACTERS:
        return None
    scheme, _, encoded = authorization.strip(" \t").partition(" ")
    if scheme.lower() != "basic":
        return None
    encoded = encoded.strip(" \t")
    try:
        raw = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or not name or any(unicodedata.category(letter) == "Cc" for letter in text):
        return None
    return Credentials(unicodedata.normalize("NFC", name), password)
