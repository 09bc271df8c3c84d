"""Sessions: what a login form's cookie says, how it is signed, and the key that it is signed with.

Owns: the form of the value, the key file, for how long a session stands. Must not know: cookies, requests, users files.

Theory of operation. Nothing is kept of a session: its cookie tells who logged in and when, under a keyed BLAKE2b, so
every worker process knows it and a restart ends none. It holds no role: whoever reads one looks the user up, each
time. It holds a keyed fingerprint of the user's password hash, which a new password, or a new user of the
same name, does not have. The price is that logging out makes a browser forget its cookie and cannot end a copy.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from typing import Final

import msgspec

from holdfast.access.users_file import UserRecord
from holdfast.clock import Clock

__all__ = ["KEY_NAME", "Session", "SessionKeyError", "Sessions", "load_key"]

KEY_NAME: Final = "session.key"
"""The key's file in the state folder; removing it while no server runs ends all sessions."""

_KEY_BYTES: Final = 32
_MAC_BYTES: Final = 32
_FINGERPRINT_BYTES: Final = 16
_MAX_CHARACTERS: Final = 1024
_MAC_USE: Final = b"session"
_FINGERPRINT_USE: Final = b"password"


class SessionKeyError(Exception):
    """The key of the sessions cannot be read or made; the text is a plain sentence."""


class Session(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a session's cookie says. `issued_us` is on the store's clock, in microseconds since 1970."""

    name: str
    issued_us: int
    fingerprint: bytes


class Sessions:
    """Issues and reads sessions that stand for `lasting_s` seconds. Safe for threads."""

    def __init__(self, key: bytes, clock: Clock, lasting_s: float) -> None:
        """Sign with `key`. A shorter `lasting_s` than before counts for sessions that were issued then."""
        self._key = key
        self._clock = clock
        self.lasting_s = lasting_s

    def issue(self, record: UserRecord) -> str:
        """A new session of this user, as a cookie's value."""
        session = Session(record.name, self._clock.now_us(), self._fingerprint(record))
        raw = msgspec.json.encode(session)
        return f"{_encode(raw)}.{_encode(self._sign(raw))}"

    def read(self, value: str) -> Session | None:
        """What `value` says, where it was signed here and its time is not over. Never raises.

        Whether the user is still there, with the same password, is to be asked of `is_of`.
        """
        if len(value) > _MAX_CHARACTERS:
            return None
        said, _, signature = value.partition(".")
        try:
            raw = _decode(said)
            if not compare_digest(self._sign(raw), _decode(signature)):
                return None
            session = msgspec.json.decode(raw, type=Session)
        except (Base64Error, ValueError, msgspec.DecodeError):
            return None
        age_us = self._clock.now_us() - session.issued_us
        return session if 0 <= age_us < self.lasting_s * 1_000_000 else None

    def is_of(self, session: Session, record: UserRecord) -> bool:
        """True where the user's password is the one that the session began with."""
        return session.name == record.name and compare_digest(session.fingerprint, self._fingerprint(record))

    def _sign(self, raw: bytes) -> bytes:
        return blake2b(raw, key=self._key, person=_MAC_USE, digest_size=_MAC_BYTES).digest()

    def _fingerprint(self, record: UserRecord) -> bytes:
        hashed = record.password_hash.encode()
        return blake2b(hashed, key=self._key, person=_FINGERPRINT_USE, digest_size=_FINGERPRINT_BYTES).digest()


def load_key(path: Path) -> bytes:
    """The key in the file at `path`, which is made (mode 0600) where it is missing. Raises SessionKeyError.

    Processes may call it at the same time: one of them makes the key under the file's lock, and all get the same.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "r+b", buffering=0) as file:
            fcntl.flock(handle, fcntl.LOCK_EX)
            key = os.pread(handle, _KEY_BYTES + 1, 0)
            if len(key) < _KEY_BYTES:  # new, or its maker was killed before it had written all
                key = secrets.token_bytes(_KEY_BYTES)
                os.pwrite(handle, key, 0)
                os.fsync(handle)
            if os.fstat(handle).st_mode & 0o077:
                os.fchmod(file.fileno(), 0o600)
    except OSError as error:
        msg = f"The key of the sessions, {path}, cannot be read or made: {error.strerror}."
        raise SessionKeyError(msg) from error
    if len(key) != _KEY_BYTES:
        msg = f"{path} is not a key that Holdfast made: remove it, and a new one is made; all have to log in again."
        raise SessionKeyError(msg)
    return key


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """The bytes of what `_encode` gave; raises ValueError."""
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
