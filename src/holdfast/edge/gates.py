"""Who is asked whether a change may pass a guard: the locks in this process, or a Holdfast server.

Owns: the question, which is `GET /api/check` in both cases, so that a guard refuses what any other gateway would, in the same
words; and what counts as an answer. Must not know: how locks are weighed, the application. A question that
gets no answer is a refusal (503): a lock is never passed over because nobody could be asked.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.edge.forwarding import ForwardingRules
from holdfast.edge.heads import problem
from holdfast.edge.upstream import Pool, UpstreamError
from holdfast.wire.changes import is_reading
from holdfast.wire.exchange import Face, Headers, Request, Response

__all__ = ["CHECK", "FaceGate", "Gate", "NamedGate", "Scope", "ServerGate"]

logger = logging.getLogger("holdfast.guard")

CHECK: Final = "/api/check"
_SESSION: Final = "/api/session"

_PASSED: Final = (b"if", b"lock-token", b"destination", b"accept", b"user-agent", b"host")
_WHO: Final = (b"authorization", b"cookie", b"origin", b"sec-fetch-site")
_MOST_BYTES: Final = 1024 * 1024
_RETRY_S: Final = 2
_DROPPED: Final = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})


class Gate(Protocol):
    """Asked before a request goes on, and once more before its last byte does."""

    async def ask(self, head: Request) -> Response | None:
        """The refusal, or None: it may pass. Never raises but for cancelling."""
        ...


class Scope:
    """Which requests are asked about: changes, and with `reads` everything but OPTIONS, at, above and below `prefixes`."""

    def __init__(self, prefixes: tuple[ResourcePath, ...], *, reads: bool) -> None:
        """Ask about these."""
        self._prefixes = prefixes
        self._reads = reads
        self._is_everything = any(prefix.is_root for prefix in prefixes)

    def covers(self, head: Request) -> bool:
        """True where the locks are to be asked."""
        if head.method == "OPTIONS" or (not self._reads and is_reading(head.method)):
            return False
        if self._is_everything:
            return True
        try:
            resource = ResourcePath.from_target(head.target)
        except InvalidPathError:
            return True  # the check refuses it, since nobody knows what it is to the application
        is_near = any(resource.is_at_or_below(one) or one.is_below(resource) for one in self._prefixes)
        return is_near or b"destination" in head.headers


class FaceGate:
    """Asks a face of this process, on the loop's thread: the check is brief.

    With `has_users` whoever is not known is refused everywhere, also where no locks are asked about; OPTIONS alone passes, since
    browsers send it without credentials.
    """

    def __init__(self, face: Face, scope: Scope, rules: ForwardingRules, *, has_users: bool = False) -> None:
        """`face` answers GET /api/check, and GET /api/session to who is not known."""
        self._face = face
        self._scope = scope
        self._rules = rules
        self._has_users = has_users

    async def ask(self, head: Request) -> Response | None:
        """See Gate."""
        if self._scope.covers(head):
            answer = self._question(head, CHECK)
            return None if answer.status == 204 else answer
        if self._has_users and head.principal is None and head.method != "OPTIONS":
            return self._question(head, _SESSION)
        return None

    def _question(self, head: Request, target: str) -> Response:
        known = head.headers.fields
        fields = [(name, known[name]) for name in (*_PASSED, *_WHO) if name in known]
        headers = Headers([*fields, *_forwarded(head, self._rules)])
        return self._face(Request("GET", target, headers, head.principal, b"", "", head.scheme, head.client))


class ServerGate:
    """Asks a Holdfast server. With a `token` it asks as itself, and for the person that `rules.user_field` names.

    `links` says to whose addresses a refusal is to lead (`CheckQuery.links` of the API).
    """

    def __init__(
        self, pool: Pool, scope: Scope, rules: ForwardingRules, *, links: str, token: str = "", answer_s: float = 10.0
    ) -> None:
        """Wait for an answer for `answer_s` seconds."""
        self._target = f"{CHECK}?links={links}".encode("ascii")
        self._pool = pool
        self._scope = scope
        self._rules = rules
        self._token = token
        self._answer_s = answer_s

    async def ask(self, head: Request) -> Response | None:
        """See Gate."""
        if not self._scope.covers(head):
            return None
        try:
            async with asyncio.timeout(self._answer_s):
                status, fields, body = await self._fetch(self._fields(head))
        except (TimeoutError, UpstreamError, ValueError) as error:
            logger.warning("the locks at %s could not be asked: %s", self._pool.upstream, error or "no answer in time")
            return _unasked()
        if status == 204:
            return None
        if status < 400 or status >= 500:
            logger.warning("the locks at %s could not be asked: it answered %d", self._pool.upstream, status)
            return _unasked()
        return Response(status, fields, body)

    def _fields(self, head: Request) -> list[tuple[bytes, bytes]]:
        known = head.headers.fields
        fields = [(name, known[name]) for name in _PASSED if name in known and name != b"host"]
        fields += [(b"host", self._pool.upstream.authority), *_forwarded(head, self._rules)]
        if not self._token:
            return fields + [(name, known[name]) for name in _WHO if name in known]
        fields.append((b"authorization", b"Bearer " + self._token.encode("latin-1")))
        person = known.get(self._rules.user_field)
        if person and self._rules.trusts(head.client):
            fields.append((b"x-forwarded-user", person))
        return fields

    async def _fetch(self, fields: list[tuple[bytes, bytes]]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, fields and content; asked again where a kept connection had ended. Raises UpstreamError, ValueError."""
        try:
            return await self._fetch_once(fields, may_be_kept=True)
        except UpstreamError as error:
            if not error.is_stale:
                raise
            return await self._fetch_once(fields, may_be_kept=False)

    async def _fetch_once(
        self, fields: list[tuple[bytes, bytes]], *, may_be_kept: bool
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        exchange = await self._pool.open(may_be_old=True, may_be_kept=may_be_kept)
        try:
            await exchange.send_head(b"GET", self._target, fields, ends=True)
            head = await exchange.head()
            while head.status_code < 200:
                head = await exchange.head()
            content = bytearray()
            async for data in exchange.body():
                content += data
                if len(content) > _MOST_BYTES:
                    msg = "its answer is too large"
                    raise UpstreamError(msg)
        finally:
            exchange.end()
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items()]
        return head.status_code, [pair for pair in pairs if pair[0].lower() not in _DROPPED], bytes(content)


class NamedGate:
    """Before what is for those whom a trusted proxy names: nobody else is asked about."""

    def __init__(self, gate: Gate, rules: ForwardingRules) -> None:
        """Ask `gate` about the others; `rules` tell the field with the name."""
        self._gate = gate
        self._rules = rules

    async def ask(self, head: Request) -> Response | None:
        """See Gate."""
        if not head.headers.fields.get(self._rules.user_field) or not self._rules.trusts(head.client):
            return problem(403, "This is for people who are logged in at the proxy before this guard.")
        return await self._gate.ask(head)


def _forwarded(head: Request, rules: ForwardingRules) -> list[tuple[bytes, bytes]]:
    """What the request is, and where its client sent it to, by a trusted proxy's word where one stands in front."""
    uri = f"{head.target}?{head.query}" if head.query else head.target
    known = head.headers.fields
    believed = known if rules.trusts(head.client) else {}
    host = believed.get(b"x-forwarded-host") or known.get(b"host", b"")
    return [
        (b"x-forwarded-method", head.method.encode("latin-1")),
        (b"x-forwarded-uri", uri.encode("latin-1")),
        (b"x-forwarded-proto", believed.get(b"x-forwarded-proto") or head.scheme.encode("latin-1")),
        (b"x-forwarded-host", host),
    ]


def _unasked() -> Response:
    sentence = "The locks cannot be asked just now, so nothing is changed. Try again shortly."
    return problem(503, sentence, [("retry-after", str(_RETRY_S))])
