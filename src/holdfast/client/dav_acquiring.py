"""Conversations about one's own lock at any WebDAV server: LOCK, its refresh, UNLOCK (RFC 4918 sections 9.10, 9.11).

Owns: what is sent when, what each answer means, and where servers differ. All of it is flows. Must not know: who holds the
result.

Theory of operation: a server that knows `Prefer: wait` (Holdfast) holds the line and says so in Preference-Applied; any
other one is asked again, as the policy says. WebDAV has no way to repeat a LOCK whose answer was lost: the second one would be
refused because of the first. So the owner element carries a mark, invisible in its text, by which lock discovery shows
whether the lock was granted. Where a server keeps no mark, such a lock stays until its time is over.

Seen at servers: Apache answers UNLOCK for a lock that is gone with 400, wsgidav with 409; some leave Lock-Token out of the
answer or its angle brackets away; wsgidav tells a second less than was asked. Two faults cannot be made good from here: lighttpd
answers a refresh with 200 and does nothing, and Apache's refresh of a lock in depth lets the locks on its members expire.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast import __version__
from holdfast.client.bodies.dav import child, children
from holdfast.client.errors import LockedError, LostReason
from holdfast.client.exchange import ClientResponse, Headers
from holdfast.client.flows import Flow, notify, now, send, sleep
from holdfast.client.held import Grant
from holdfast.client.holding import Failed, Loss, Outcome, Refreshed
from holdfast.client.policy import Waiting, WaitPolicy, backoff, hopeless
from holdfast.client.reading import read_locked
from holdfast.client.refusals import RefusedError, UnreachableError, refusal, retry_seconds
from holdfast.client.sending import TimedRequest
from holdfast.wire.davxml_write import HOLDFAST, escape
from holdfast.wire.prefer import parse_prefer
from holdfast.wire.rfc4918 import HeaderError, Infinite, parse_lock_token, parse_timeout
from holdfast.wire.xmlread import Element, XmlError, parse_xml

__all__ = ["DavAcquisition", "DavAsk", "refresh_dav", "release_dav"]

_SLICE_S: Final = 50.0
_GRACE_S: Final = 10.0
_HELD_LINE_S: Final = 0.5  # an answer that comes sooner was not waited for
_PATIENCE_S: Final = 5.0
_UNTOLD_S: Final = 60.0  # what is taken for granted where a server tells no time
_MARK: Final = "urn:holdfast:attempt"
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE: Final = frozenset({400, 404, 409, 410, 412})
_DISCOVERY: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'
)


class DavAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is wanted on the resource at `url`. `ttl` and `wait` are in seconds; infinite ttl is without end.

    `condition` is the If header of other locks that the LOCK needs.
    """

    url: str
    ttl: float = 300.0
    wait: float = 0.0
    scope: str = "exclusive"
    depth: str = "0"
    owner: str = ""
    condition: str = ""

    @property
    def timeout(self) -> str:
        """The Timeout field (RFC 4918 section 10.7)."""
        return "Infinite" if math.isinf(self.ttl) else f"Second-{max(1, math.ceil(self.ttl))}"


class _Active(msgspec.Struct, frozen=True):
    """What a server tells of one's own lock. `ttl` None is without end."""

    token: str
    ttl: float | None

    def __repr__(self) -> str:
        return "_Active()"


class DavAcquisition:
    """One lock that is being acquired, from the first LOCK to the grant."""

    def __init__(
        self, ask: DavAsk, policy: WaitPolicy | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        """`policy` says how a server that holds no line is asked; `chance` draws from 0 to 1."""
        self._ask = ask
        self._policy = policy or WaitPolicy(wait_for_endless=True)
        self._chance = chance
        self._mark = uuid.uuid4().hex
        self._attempts = 0
        self._waits = 0
        self._troubles = 0
        self._begun = 0.0
        self._until = 0.0
        self._trouble_at = 0.0
        self.is_unsure = False
        """True while a LOCK is out that may have been granted."""

    def run(self) -> Flow[Grant]:
        """Acquire. Raises LockedError where it is not granted in time, RefusedError, UnreachableError."""
        self._begun = yield from now()
        self._until = self._begun + self._ask.wait
        while True:
            asked_at = yield from now()
            try:
                if self.is_unsure:
                    active = yield from self._discovered()
                    if active is not None:
                        return (yield from self._granted(active, asked_at, is_old=True))
                response = yield from self._lock(min(max(0.0, self._until - asked_at), _SLICE_S))
            except UnreachableError as error:
                yield from self._pause(error)
                continue
            if response.status in {200, 201}:
                return (yield from self._granted(self._told(response), asked_at))
            self.is_unsure = False
            yield from self._refused(response, asked_at)

    def abandon(self) -> Flow[None]:
        """Whoever asked has gone: give back what may have been granted meanwhile, if it can be done quickly."""
        if not self.is_unsure:
            return
        try:
            active = yield from self._discovered(within=2.0)
            if active is not None:
                yield from send(_request("UNLOCK", self._ask.url, within=2.0, Lock_Token=f"<{active.token}>"))
        except (UnreachableError, RefusedError):
            return

    def _lock(self, wait: float) -> Flow[ClientResponse]:
        self._attempts += 1
        self.is_unsure = True
        seconds = math.ceil(wait)
        fields = {
            "Depth": self._ask.depth,
            "Timeout": self._ask.timeout,
            "Content_Type": 'application/xml; charset="utf-8"',
        }
        if seconds:
            fields["Prefer"] = f"wait={seconds}"
        if self._ask.condition:
            fields["If"] = self._ask.condition
        try:
            return (yield from send(_request("LOCK", self._ask.url, self._body(), within=seconds + _GRACE_S, **fields)))
        except UnreachableError as error:
            self.is_unsure = error.was_sent
            raise

    def _body(self) -> bytes:
        mark = f'<H:attempt xmlns:H="{_MARK}" id="{self._mark}"/>'
        return (
            '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:">'
            f"<D:lockscope><D:{self._ask.scope}/></D:lockscope><D:locktype><D:write/></D:locktype>"
            f"<D:owner>{escape(self._ask.owner)}{mark}</D:owner></D:lockinfo>"
        ).encode()

    def _told(self, response: ClientResponse) -> _Active:
        """The lock in a successful answer. Raises RefusedError where there is none."""
        told = _lock_tokens(response)
        actives = _actives(response)
        for token in told:
            known = next((active for active in actives if active.token == token), None)
            return known or _Active(token, min(self._ask.ttl, _UNTOLD_S))
        marked = [active for active in _actives(response, self._mark) if active.token] or actives
        if not marked or not marked[0].token:
            raise RefusedError(response.status, f"{response.url} granted a lock without telling its token")
        return marked[0]

    def _discovered(self, within: float = _GRACE_S) -> Flow[_Active | None]:
        """The lock that an earlier LOCK of ours was granted, by its mark."""
        request = _request(
            "PROPFIND", self._ask.url, _DISCOVERY, within=within, Depth="0", Content_Type="application/xml"
        )
        response = yield from send(request)
        if response.status != 207:
            return None
        return next((active for active in _actives(response, self._mark) if active.token), None)

    def _granted(self, active: _Active, asked_at: float, *, is_old: bool = False) -> Flow[Grant]:
        """The grant, its timer restarted where it is not known when it was started."""
        ttl = active.ttl
        answered_at = yield from now()
        while ttl is not None and (is_old or answered_at - asked_at > ttl / 6):
            outcome = yield from refresh_dav(self._ask, active.token, _GRACE_S)
            if isinstance(outcome, Refreshed):
                asked_at, ttl = outcome.asked_at, outcome.ttl
                break
            if isinstance(outcome, Loss):
                raise outcome.as_error(self._ask.url)
            yield from self._pause(outcome.error, outcome.retry_after)
        return Grant(
            resource=self._ask.url,
            id="",
            token=active.token,
            asked_at=asked_at,
            ttl=ttl,
            asked=self._ask.ttl,
            scope=self._ask.scope,
            depth=self._ask.depth,
        )

    def _refused(self, response: ClientResponse, asked_at: float) -> Flow[None]:
        """Return to ask again; else raise."""
        if response.status in _TRY_AGAIN:
            yield from self._pause(refusal(response), retry_seconds(response))
            return
        self._troubles = 0
        details = read_locked(response)
        if details is None:
            raise refusal(response)
        at = yield from now()
        left = self._until - at
        if hopeless(self._policy, details, left=left) is not None or self._attempts >= self._policy.attempts:
            waited = at - self._begun if self._ask.wait else 0.0
            raise LockedError(details, response, waited=waited, attempts=self._attempts)
        if parse_prefer(response.headers.get("preference-applied")).wait and at - asked_at >= _HELD_LINE_S:
            return  # it held the line, which is longer than one request
        delay = max(backoff(self._policy, waits=self._waits, chance=self._chance()), details.retry_after or 0.0)
        delay = min(delay, left)
        self._waits += 1
        if self._policy.on_wait is not None:
            waiting = Waiting(
                method="LOCK",
                url=self._ask.url,
                details=details,
                waited=at - self._begun,
                attempts=self._attempts,
                left=left,
                delay=delay,
            )
            yield from notify(self._policy.on_wait, waiting)
        yield from sleep(delay)

    def _pause(self, error: Exception, least: float = 0.0) -> Flow[None]:
        """Let some time pass after a failure; raises it where the time is over, the one for a doubtful grant included."""
        at = yield from now()
        if not self._troubles:
            self._trouble_at = at
        pause = max(backoff(self._policy, waits=min(self._troubles, 3), chance=self._chance()), least)
        self._troubles += 1
        until = max(self._until, self._trouble_at + _PATIENCE_S) if self.is_unsure else self._until
        if at + pause > until:
            raise error
        yield from sleep(pause)


def refresh_dav(ask: DavAsk, token: str, within: float) -> Flow[Outcome]:
    """LOCK without a body (RFC 4918 section 9.10.2), which may take so many seconds."""
    asked_at = yield from now()
    try:
        response = yield from send(_request("LOCK", ask.url, within=within, If=f"(<{token}>)", Timeout=ask.timeout))
    except UnreachableError as error:
        return Failed(error)
    if response.status in {200, 201}:
        # A new token in an answer to a refresh would be a second lock; section 9.10.2 allows none, so what is ours is sought.
        known = [active for active in _actives(response) if active.token == token] or _actives(response)
        return Refreshed(asked_at, known[0].ttl if known else min(ask.ttl, _UNTOLD_S))
    if response.status in _GONE or response.status == 423:
        return _loss(response)
    return Failed(refusal(response), retry_seconds(response), is_refusal=response.status in {401, 403})


def release_dav(ask: DavAsk, token: str, patience: float = _PATIENCE_S) -> Flow[Loss | None]:
    """UNLOCK; a Loss where the lock had ended before. Tries for so many seconds, then raises what stood in the way."""
    begun = yield from now()
    pause = 0.1
    was_sent = False
    while True:
        least = 0.0
        try:
            response = yield from send(_request("UNLOCK", ask.url, within=max(1.0, patience), Lock_Token=f"<{token}>"))
        except UnreachableError as error:
            trouble: Exception = error
            was_sent = was_sent or error.was_sent
        else:
            if 200 <= response.status < 300:
                return None
            if response.status in _GONE:
                # Where an earlier UNLOCK of ours was not answered, it may be what ended the lock.
                return None if was_sent else _loss(response)
            trouble, least = refusal(response), retry_seconds(response)
            if response.status not in _TRY_AGAIN:
                raise trouble
        at = yield from now()
        if at + max(pause, least) > begun + patience:
            raise trouble
        yield from sleep(max(pause, least))
        pause = min(2 * pause, 2.0)


def _request(method: str, url: str, body: bytes | None = None, *, within: float, **fields: str) -> TimedRequest:
    headers = {"User-Agent": f"holdfast-client/{__version__}", "Accept": "application/xml, text/xml;q=0.9, */*;q=0.1"}
    headers |= {name.replace("_", "-"): text for name, text in fields.items()}
    return TimedRequest(method=method, url=url, headers=Headers(headers.items()), body=body, within=within)


def _lock_tokens(response: ClientResponse) -> list[str]:
    text = response.headers.get("lock-token", "")
    try:
        return [parse_lock_token(text)] if text else []
    except HeaderError:
        return []


def _actives(response: ClientResponse, mark: str = "") -> list[_Active]:
    """The locks that an answer tells of; with a `mark` those that carry it."""
    try:
        root = parse_xml(response.body)
    except XmlError:
        return []
    found: list[_Active] = []
    todo = [root]
    while todo:
        element = todo.pop()
        if element.name != "activelock" or element.namespace != "DAV:":
            todo.extend(reversed(element.elements()))
        elif not mark or _carries(element, mark):
            found.append(_active(element))
    return found


def _active(element: Element) -> _Active:
    token, timeout = child(element, "locktoken"), child(element, "timeout")
    href = None if token is None else child(token, "href")
    told = parse_timeout(None if timeout is None else timeout.text().strip())
    ttl = None if isinstance(told, Infinite) else _UNTOLD_S if told is None else float(told)
    return _Active("" if href is None else href.text().strip(), ttl)


def _carries(element: Element, mark: str) -> bool:
    todo = children(element, "owner")
    while todo:
        item = todo.pop()
        if item.namespace == _MARK and any(value == mark for _, value in item.attributes):
            return True
        todo.extend(item.elements())
    return False


def _loss(response: ClientResponse) -> Loss:
    """Why a server knows a lock no more; Holdfast tells who broke it."""
    try:
        root = parse_xml(response.body)
    except XmlError:
        return Loss(reason=LostReason.GONE, detail="The server knows no such lock any more.")
    problem = child(root, "problem", HOLDFAST)
    note = None if problem is None else child(problem, "detail", HOLDFAST)
    said = "" if note is None else note.text()
    broken, _, _ = said.partition(" No lock with this token")
    if said.startswith("Your lock was broken"):
        return Loss(reason=LostReason.BROKEN, detail=broken)
    return Loss(reason=LostReason.GONE, detail=said or "The server knows no such lock any more.")
