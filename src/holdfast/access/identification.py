"""Identification: the head of a request becomes a Principal, by its Authorization field or by a session's cookie.

Owns: which of the two counts, and when a cookie does; logging in by name and password; the answer to nobody. Must not
know: what a principal may do, any address, the pages.

Authorization comes first: where it is sent, the cookie is not looked at. A browser sends a cookie by itself, also when a
page of another site makes it, so with a method that changes something it counts only where the request proves
that a page of this server made it (`wire.provenance`); SameSite=Strict is the other guard against the same.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.access.authenticator import NEEDS_WORK, Authenticator, NeedsWork
from holdfast.access.cookies import session_cookie
from holdfast.access.sessions import Sessions
from holdfast.access.unknown import Lack, UnknownAnswer, answer_unknown
from holdfast.access.users_file import UserRecord
from holdfast.core.access import Principal
from holdfast.wire.exchange import Request
from holdfast.wire.provenance import Provenance, is_from_script, provenance

__all__ = ["Identification", "Login"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
"""Methods that change nothing (RFC 9110 section 9.2.1, RFC 4918 section 9.1)."""


class Login(msgspec.Struct, frozen=True):
    """What came of a name and a password: the session as a cookie's value, or None and how many seconds to wait."""

    session: str | None
    wait_s: int = 0


class Identification:
    """Safe for threads. `sessions` is None on an open server, where nobody needs one."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions | None) -> None:
        """Know users by `authenticator`."""
        self._authenticator = authenticator
        self._sessions = sessions

    @property
    def is_open(self) -> bool:
        """True for a server without users, on which everybody is ANONYMOUS."""
        return self._authenticator.is_open

    @property
    def session_s(self) -> int:
        """Whole seconds that a session stands."""
        return 0 if self._sessions is None else int(self._sessions.lasting_s)

    def identify_now(self, head: Request) -> Principal | NeedsWork | None:
        """The principal, None for nobody, or NEEDS_WORK. No I/O, no hashing of passwords."""
        authorization = head.headers.get(b"authorization")
        if authorization is None:
            session = self._counting(head)
            if session is not None:
                return self._by_session(session, self._authenticator.find_now)
        return self._authenticator.identify_now(authorization, head.client)

    def identify_slowly(self, head: Request) -> Principal | None:
        """The principal, or None for nobody. May hash, read the disk and wait."""
        authorization = head.headers.get(b"authorization")
        if authorization is None:
            session = self._counting(head)
            if session is not None:
                found = self._by_session(session, self._authenticator.find_slowly)
                return None if isinstance(found, NeedsWork) else found
        return self._authenticator.identify_slowly(authorization, head.client)

    def log_in(self, name: str, password: str, client: str) -> Login:
        """Begin a session. Hashes, and is slowed and logged, as the same name and password in Authorization are."""
        if self._sessions is None or ":" in name:  # no name holds a colon, which would end it in the field
            return Login(None)
        # Looked up before the password is checked: where it is changed in between, the session is of the old one, and void.
        record = self._authenticator.find_slowly(name)
        raw = f"{name}:{password}".encode("utf-8", "surrogatepass")
        field = "Basic " + b64encode(raw).decode("ascii")
        principal = self._authenticator.identify_slowly(field, client)
        if principal is None or record is None:
            return Login(None, self._authenticator.retry_after_s(field, client))
        return Login(self._sessions.issue(record))

    def follow(self, principal: Principal) -> Callable[[], Principal | None]:
        """What tells from now on what `principal` may do, and None once it is nobody any more: see `Authenticator.follow`."""
        return self._authenticator.follow(principal)

    def answer_unknown(self, head: Request) -> UnknownAnswer:
        """What a face answers where `head` has no principal."""
        sent = head.headers.get(b"authorization")
        wait_s = self._authenticator.retry_after_s(sent, head.client)
        if sent is not None:
            lack = Lack.WRONG
        elif session_cookie(head) is None:
            lack = Lack.NOTHING_SENT
        else:
            lack = Lack.SESSION_ENDED if _lets_cookies_count(head) else Lack.SESSION_ELSEWHERE
        return answer_unknown(lack, wait_s, from_script=is_from_script(head))

    def _counting(self, head: Request) -> str | None:
        """The session's cookie, where it counts for this request."""
        if self._sessions is None:
            return None
        value = session_cookie(head)
        return value if value is not None and _lets_cookies_count(head) else None

    def _by_session(
        self, value: str, find: Callable[[str], UserRecord | NeedsWork | None]
    ) -> Principal | NeedsWork | None:
        if self._sessions is None:
            return None
        session = self._sessions.read(value)
        if session is None:
            return None
        record = find(session.name)
        if isinstance(record, NeedsWork):
            return NEEDS_WORK
        if record is None or not self._sessions.is_of(session, record):
            return None
        return Principal(record.name, record.grants)


def _lets_cookies_count(head: Request) -> bool:
    return head.method in _SAFE or provenance(head) is Provenance.OWN_PAGE
