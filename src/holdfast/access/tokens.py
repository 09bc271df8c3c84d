"""API tokens: how one is made, what is kept of it, and the Bearer scheme that carries it (RFC 6750 section 2.1).

Owns: the token's form, its hash, the name of its principal, the grammar of the field. Must not know: where tokens
are kept, which ones stand, what time it is.

A token reads `hf_ID_SECRET`. ID is public: it tells which token this is, in lists and logs. SECRET is 256 random
bits, and only a plain BLAKE2b of the whole token is kept. A password needs Argon2id because people choose passwords
that can be guessed, and each guess must cost; nobody can guess 256 random bits, however quick a guess is. So a
slow hash would protect nothing here, and would cost every request of every program 0.1 s and 64 MiB.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from holdfast.access.passwords import check_name
from holdfast.core.access import Grant, Principal

__all__ = [
    "BEARER_CHALLENGE",
    "HASH_PREFIX",
    "PRINCIPAL_PREFIX",
    "TokenRecord",
    "is_bearer",
    "make_token",
    "parse_bearer",
    "token_id",
]

BEARER_CHALLENGE: Final = 'Bearer realm="Holdfast"'
"""The challenge that asks for an API token (RFC 6750 section 3)."""

PRINCIPAL_PREFIX: Final = "token:"
"""Stands before a token's name in its principal's. No user's name holds a colon, so neither passes for the other."""

HASH_PREFIX: Final = "blake2b:"

_ID_BYTES: Final = 5
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"hf_([0-9a-f]{10})_[0-9a-f]{64}")
_BEARER: Final = "bearer "


class TokenRecord(msgspec.Struct, frozen=True):
    """What is kept of a token: no secret. `expires_at` None: it stands until it is revoked. Instants are aware UTC."""

    id: str
    name: str
    token_hash: str
    grants: tuple[Grant, ...]
    created_at: datetime
    expires_at: datetime | None

    @property
    def principal(self) -> Principal:
        """Who acts with this token."""
        return Principal(PRINCIPAL_PREFIX + self.name, self.grants)

    def is_expired_at(self, now: datetime) -> bool:
        """True from `expires_at` on."""
        return self.expires_at is not None and self.expires_at <= now

    def matches(self, token: str) -> bool:
        """True for the token that this was made of; takes the same time whichever sign is wrong."""
        return compare_digest(self.token_hash, _hash(token))


def make_token(
    name: str, grants: tuple[Grant, ...], *, created_at: datetime, expires_at: datetime | None
) -> tuple[str, TokenRecord]:
    """A new token, which is nowhere but in this answer, and what to keep of it. Raises UnusableNameError."""
    public = secrets.token_hex(_ID_BYTES)
    token = f"hf_{public}_{secrets.token_hex(_SECRET_BYTES)}"
    return token, TokenRecord(public, check_name(name), _hash(token), grants, created_at, expires_at)


def is_bearer(authorization: str) -> bool:
    """True for a field of the Bearer scheme, whatever follows it. Names of schemes ignore case (RFC 9110 section 11.1)."""
    return authorization[: len(_BEARER)].lower() == _BEARER


def parse_bearer(authorization: str) -> str | None:
    """The token in `Bearer hf_...`; None for anything else, another program's token included. Never raises."""
    if not is_bearer(authorization):
        return None
    token = authorization[len(_BEARER) :].strip(" \t")
    return token if _TOKEN.fullmatch(token) else None


def token_id(token: str) -> str:
    """The public part of a token that `parse_bearer` gave."""
    return token.split("_")[1]


def _hash(token: str) -> str:
    return HASH_PREFIX + blake2b(token.encode("ascii"), digest_size=32).hexdigest()
