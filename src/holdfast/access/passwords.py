"""Passwords: how one becomes an Argon2id hash, and whether one matches.

Owns: the cost of a hash, the rules for names and passwords, and their Unicode form. Must not know: where
hashes are kept, HTTP, who asks. A password is compared in Unicode's NFC form, so that the same keys typed on
two systems give the same password (RFC 7617 section 2, RFC 8265 section 4.2).
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argon2


__all__ = [
    "MAX_NAME_CHARACTERS",
    "MAX_PASSWORD_BYTES",
    "Passwords",
    "UnusableNameError",
    "UnusablePasswordError",
    "check_name",
    "check_password",
]

MAX_NAME_CHARACTERS: Final = 64
MAX_PASSWORD_BYTES: Final = 1024
"""In UTF-8; enough for any passphrase, too little to make hashing a burden."""

_RESERVED_NAMES: Final = frozenset({"anonymous"})
_FORBIDDEN_IN_NAME: Final = frozenset(':/\\"<>')


class UnusableNameError(ValueError):
    """The name cannot be a user's; the text is a plain sentence that says why."""


class UnusablePasswordError(ValueError):
    """The password cannot be used; the text is a plain sentence that says why, and never holds the password."""


def check_name(name: str) -> str:
    """The name in NFC. Raises UnusableNameError.

    A colon would end the name in Basic credentials (RFC 7617 section 2); the other signs would
    need care wherever a name is shown.
    """
    normal = unicodedata.normalize("NFC", name)
    if not normal:
        msg = "A name must not be empty."
    elif len(normal) > MAX_NAME_CHARACTERS:
        msg = f"A name has at most {MAX_NAME_CHARACTERS} characters."
    elif any(letter in _FORBIDDEN_IN_NAME for letter in normal):
        msg = f'The name {normal!r} holds a sign that names cannot have: none of : / \\ " < > is possible.'
    elif not normal.isprintable() or normal != normal.strip():
        msg = f"The name {normal!r} holds a control character, or begins or ends with a space."
    elif normal.lower() in _RESERVED_NAMES:
        msg = f"The name {normal!r} is reserved: it stands for everybody on a server without users."
    else:
        return normal
    raise UnusableNameError(msg)


def check_password(password: str) -> str:
    """The password in NFC. Raises UnusablePasswordError for an empty, overlong or unprintable one."""
    normal = unicodedata.normalize("NFC", password)
    if not normal:
        msg = "A password must not be empty."
    elif len(normal.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        msg = f"A password has at most {MAX_PASSWORD_BYTES} bytes."
    elif any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in normal):
        msg = "A password cannot hold control characters, which HTTP cannot carry in one (RFC 7617)."
    else:
        return normal
    raise UnusablePasswordError(msg)


class Passwords:
    """Hashes and checks. The default cost is the second recommendation of RFC 9106 section 4: 64 MiB, 3 passes."""

    def __init__(self, cost: argon2.Parameters | None = None) -> None:
        """Hash at `cost`; existing hashes are checked at the cost that they were made with."""
        import argon2

        self._hasher = argon2.PasswordHasher.from_parameters(cost or argon2.profiles.RFC_9106_LOW_MEMORY)

    def hash(self, password: str) -> str:
        """A new salted Argon2id hash, as text. Raises UnusablePasswordError."""
        return self._hasher.hash(check_password(password))

    def matches(self, password_hash: str, password: str) -> bool:
        """True for the password that the hash was made of. Takes the time of a hash whether true or not."""
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(password_hash, unicodedata.normalize("NFC", password))
        except (VerificationError, InvalidHashError):
            return False
