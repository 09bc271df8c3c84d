"""The flow that waits out a refusal as locked: send, learn who is in the way, wait, send again, and lose no update.

Owns: `wait_out` and what it needs to know of the request (OwnRequest). Must not know: HTTP libraries, threads, loops. How long
is `policy`'s, how a lock is looked at `probing`'s, what makes a late change safe `versions`'.

Theory of operation. A 423 says that nothing was done, so any method may be sent again; a 207 says that something may have been,
so that is not. What could not be sent again after the wait (a spent body, a change whose version is not known) is
refused before it. Meanwhile the lock is looked at rather than the request sent: its body may be large. LOCK, and a request for
a lock of Holdfast, are sent with `Prefer: wait` instead, and the server answers when their turn has come.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from holdfast.client.details import LockedDetails
from holdfast.client.errors import LockedError, NotReplayableError
from holdfast.client.exchange import MAX_BODY, MAX_MULTISTATUS, ClientRequest, ClientResponse, Headers
from holdfast.client.flows import Flow, notify, now, send, sleep
from holdfast.client.policy import GaveUp, Stale, Waiting, WaitPolicy, hopeless, next_delay
from holdfast.client.probing import Watch, discover, lock_address, looked, same_origin, watch
from holdfast.client.reading import read_locked
from holdfast.client.versions import ABSENT, UnknownVersionError, Version, condition_for
from holdfast.wire.prefer import Preferences, parse_prefer, render_prefer

__all__ = ["LONGEST_HELD", "Options", "OwnRequest", "TokensFor", "Waited", "body_needed", "wait_out"]

LONGEST_HELD: Final = 50
"""Seconds for which a server is asked to hold the line at most: proxies cut a silent request after 60."""

TokensFor: TypeAlias = Callable[[str], Iterable[tuple[str, str]]]
"""What gives the caller's own locks that cover a URL: (lock root's URL, lock token) pairs. It is called with absolute URLs."""

_DAV_METHODS: Final = frozenset({"PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "MKCALENDAR"})
_PARTIAL: Final = frozenset({"DELETE", "COPY", "MOVE", "LOCK", "PROPPATCH"})
_CONFLICTS: Final = frozenset({400, 403, 409, 412, 500, 503})
_DAV_SERVICES: Final = frozenset({"webdav", "sabre", "nextcloud", "holdfast"})


class OwnRequest(ClientRequest, frozen=True, kw_only=True):
    """The caller's own request. `size` is that of its body in bytes, where known; `spent` says why it cannot be sent twice.

    >>> OwnRequest(method="PUT", url="http://dav.example/a", body=b"text", size=4).spent
    ''
    """

    size: int | None = 0
    spent: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What differs for one request. `version` is the one that its change is based on; `body` opens its body anew each time.

    >>> Options.of({"version": '"v1"'}, WaitPolicy(deadline=5)).policy.deadline
    5
    """

    policy: WaitPolicy
    version: Version | None = None
    body: Callable[[], Iterable[bytes]] | None = None

    @classmethod
    def of(cls, given: object, policy: WaitPolicy) -> Options:
        """Read a mapping with any of `policy`, `version` (None: there was nothing when it was read) and `body`.

        Raises TypeError for anything else, for a slip of the pen would lose an update.
        """
        if given is None:
            return cls(policy=policy)
        if isinstance(given, Options):
            return given
        if not isinstance(given, Mapping) or not {"policy", "version", "body"}.issuperset(
            known := cast("Mapping[str, object]", given)
        ):
            msg = "the options of a request are a mapping of policy, version and body"
            raise TypeError(msg)
        named, body = known.get("version", ""), known.get("body")
        chosen = known.get("policy", policy)
        if not isinstance(chosen, WaitPolicy) or not (named is None or isinstance(named, str)):
            msg = "policy is a WaitPolicy, version an entity tag or None"
            raise TypeError(msg)
        version: Version | None = ABSENT if named is None else named or None
        opener = cast("Callable[[], Iterable[bytes]]", body) if callable(body) else None
        return cls(policy=chosen, version=version, body=opener)


def body_needed(method: str, status: int, policy: WaitPolicy) -> int:
    """Bytes of a body that must be read to know whether it is a refusal as locked; 0 where the status tells.

    >>> body_needed("PUT", 423, WaitPolicy()) > 0, body_needed("GET", 200, WaitPolicy())
    (True, 0)
    """
    if status == 423:
        return MAX_BODY
    if (status == 207 and method in _PARTIAL) or status == 424:
        return MAX_MULTISTATUS
    return MAX_BODY if policy.conflicts and status in _CONFLICTS else 0


@dataclass(frozen=True, slots=True)
class Waited:
    """How it ended. `details` and `gave_up` tell of the last refusal, and are None where there is none; `waited` is in seconds.

    `added` are the fields that were sent beyond the caller's own: after a wait, the condition that a 412 answers.

    >>> Waited(response=ClientResponse(status=204), attempts=2, waited=12.5).gave_up is None
    True
    """

    response: ClientResponse
    attempts: int = 1
    waited: float = 0.0
    details: LockedDetails | None = None
    gave_up: GaveUp | None = None
    added: Headers = Headers()  # noqa: RUF009 - a mapping that does not change

    @property
    def error(self) -> LockedError | None:
        """The last refusal as an error; None where the request got through."""
        if self.details is None:
            return None
        return LockedError(self.details, self.response, waited=self.waited, attempts=self.attempts)


def wait_out(
    request: OwnRequest,
    policy: WaitPolicy,
    *,
    stated: Version | None = None,
    tokens_for: TokensFor | None = None,
    chance: Callable[[], float] = random.random,
) -> Flow[Waited]:
    """Send `request` until it is not refused as locked, or `policy` says to give up.

    `stated` is the version that the caller's change is based on, where he names it. `chance` draws numbers from 0 to 1.
    Raises NotReplayableError and UnknownVersionError, each from the LockedError, before anything is waited for. A 412 after a wait
    is returned as it is: the resource was changed by somebody else.
    """
    return (yield from _Wait(request, policy, stated, tokens_for, chance).run())


class _Wait:
    """One wait: what has been tried, and since when."""

    def __init__(
        self,
        request: OwnRequest,
        policy: WaitPolicy,
        stated: Version | None,
        tokens_for: TokensFor | None,
        chance: Callable[[], float],
    ) -> None:
        self.request = request
        self.policy = policy
        self.stated = stated
        self.tokens_for = tokens_for
        self.chance = chance
        self.ends_at: float | None = None
        self.started = 0.0
        self.attempts = 0
        self.waits = 0
        self.has_waited = False
        self.is_identified = False
        self.is_blind = False
        self.has_asked_to_hold = False
        self.added = Headers()

    def run(self) -> Flow[Waited]:
        while True:
            asked_at = yield from now()
            held_s = self._to_hold(asked_at)
            self.has_asked_to_hold = self.has_asked_to_hold or held_s > 0
            response = yield from send(_holding(self.request, held_s) if held_s else self.request)
            self.attempts += 1
            answered_at = yield from now()
            if self.ends_at is None:
                self.started = asked_at if held_s else answered_at
                self.ends_at = self.started + self.policy.deadline
            details = self._read(response)
            if details is None:
                waited = answered_at - self.started if self.attempts > 1 or held_s else 0.0
                return Waited(response, self.attempts, waited, added=self.added)
            if self._submit_own_tokens(details):
                continue
            gave_up = self._hopeless(details, answered_at)
            if gave_up is None:
                self._prepare_to_resend(response, details)
                details = yield from self._identified(response, details)
                gave_up = self._hopeless(details, answered_at)
            if gave_up is None:
                was_held = held_s > 0 and _was_held(response, answered_at - asked_at)
                gave_up = yield from self._wait(response, details, was_held=was_held)
            if gave_up is not None:
                waited = (yield from now()) - self.started
                return Waited(response, self.attempts, waited, details, gave_up, self.added)

    def _read(self, response: ClientResponse) -> LockedDetails | None:
        # The answer to our own condition is the caller's to hear, whatever the service says with this status otherwise.
        if response.status == 412 and self.has_waited:
            return None
        return read_locked(response, conflicts=self.policy.conflicts)

    def _to_hold(self, at: float) -> int:
        """Seconds for which the server is asked to hold the line; 0 for what does not ask for a lock, or says how long itself.

        Who wants to hear of a wait is told by the first refusal, so that one is asked for without waiting.
        """
        request = self.request
        if not self.policy.hold_the_line or "prefer" in request.headers:
            return 0
        if self.policy.on_wait is not None and self.attempts == 0:
            return 0
        asks = request.method == "LOCK" and request.size != 0
        asks = asks or (request.method == "POST" and urlsplit(request.url).path.endswith("/api/locks"))
        left = self.policy.deadline if self.ends_at is None else self.ends_at - at
        return max(0, int(min(left, LONGEST_HELD))) if asks and not request.spent else 0

    def _submit_own_tokens(self, details: LockedDetails) -> bool:
        """Put the tokens of the caller's own locks into a tagged If header, once; True where there are any."""
        fields = self.request.headers
        if self.tokens_for is None or "if" in fields or self.request.spent or details.is_partial:
            return False
        urls = dict.fromkeys([self.request.url, *details.candidates, *(lock.url for lock in details.locks)])
        found: dict[str, str] = {}
        for url in urls:
            if url and same_origin(url, self.request.url):
                found.update(self.tokens_for(url))
        self.tokens_for = None
        if not found:
            return False
        tagged = " ".join(f"<{root}> (<{token}>)" for root, token in found.items())
        self._add({"If": tagged})
        return True

    def _add(self, fields: Mapping[str, str]) -> None:
        self.request = _with(self.request, fields)
        self.added = Headers([*self.added.items(), *fields.items()])

    def _hopeless(self, details: LockedDetails, at: float) -> GaveUp | None:
        assert self.ends_at is not None
        found = hopeless(self.policy, details, left=self.ends_at - at)
        return GaveUp.ATTEMPTS if found is None and self.attempts >= self.policy.attempts else found

    def _identified(self, response: ClientResponse, details: LockedDetails) -> Flow[LockedDetails]:
        """Who has it, asked once of a server that speaks WebDAV and did not say; a look that fails costs nothing more."""
        if self.is_identified or details.holder or not self._speaks_dav(response, details):
            return details
        self.is_identified = True
        url = next((url for url in details.candidates if same_origin(url, self.request.url)), "")
        if not url:
            return details
        seen = yield from looked(lambda: discover(self.request, url))
        if seen is None:
            return details
        self.is_blind = seen.held is None
        return msgspec.structs.replace(details, locks=seen.locks) if seen.locks else details

    def _speaks_dav(self, response: ClientResponse, details: LockedDetails) -> bool:
        return (
            details.service in _DAV_SERVICES
            or self.request.method in _DAV_METHODS
            or "dav" in response.headers
            or self._is_large()
        )

    def _is_large(self) -> bool:
        return self.request.size is None or self.request.size > self.policy.small_body

    def _prepare_to_resend(self, response: ClientResponse, details: LockedDetails) -> None:
        """Make the request one that may be sent after a wait; raises where there is no such request."""
        if self.has_waited:
            return
        request = self.request
        resource = urlsplit(request.url).path or "/"
        error = LockedError(details, response, attempts=self.attempts)
        if details.is_partial and request.method != "LOCK":  # LOCK is all or nothing (RFC 4918 section 9.10.3)
            raise NotReplayableError(request.method, resource, "a part of it may have been carried out") from error
        if request.spent:
            raise NotReplayableError(request.method, resource, request.spent) from error
        if self.policy.stale is Stale.REFUSE:
            fields = condition_for(request, self.stated)
            if fields is None:
                raise UnknownVersionError(request.method, resource) from error
            self._add(fields)
        self.has_waited = True

    def _wait(self, response: ClientResponse, details: LockedDetails, *, was_held: bool) -> Flow[GaveUp | None]:
        """Until it is worth sending the request again; why it is not."""
        assert self.ends_at is not None
        policy = self.policy
        self.waits += 1
        at = yield from now()
        left = self.ends_at - at
        address = lock_address(self.request, response, details)
        if not was_held and address and not self.has_asked_to_hold:
            was_held = self._to_hold(at) > 0  # it is about to be
        where = "" if was_held or self.is_blind else address or self._discoverable(response, details)
        retry_after = None if where == address != "" or was_held else details.retry_after
        if address and retry_after is not None and retry_after > left:
            retry_after = None  # Holdfast's is a hint of at most a minute, whatever is left of the lock
        delay = 0.0 if was_held else self._delay(left, retry_after, details.remaining)
        if delay is None:
            return GaveUp.DEADLINE
        if not where and not was_held and self._is_large():
            delay = min(max(delay, policy.cap), left)
        reserved = policy.budget.reserve(at, left)
        if reserved is None:
            return GaveUp.BUDGET
        if policy.on_wait is not None:
            told = 0.0 if where == address != "" and policy.listen else delay
            waited = at - self.started
            event = Waiting(self.request.method, self.request.url, details, waited, left, self.attempts, told)
            yield from notify(policy.on_wait, event)
        if not where:
            yield from sleep(max(delay, reserved))
            return None
        if reserved:
            yield from sleep(reserved)
        return (yield from self._watched(where, None if retry_after is None else delay))

    def _delay(self, left: float, retry_after: float | None, remaining: float | None) -> float | None:
        waits = self.waits - 1
        return next_delay(
            self.policy,
            retry_after=retry_after,
            remaining=remaining,
            waits=waits,
            left=left,
            chance=self.chance(),
        )

    def _watched(self, where: str, first_delay: float | None) -> Flow[GaveUp | None]:
        assert self.ends_at is not None
        began = yield from now()
        outcome = yield from watch(
            self.request,
            where,
            self.policy,
            self.ends_at,
            self.chance,
            first_delay=first_delay,
            waits=self.waits - 1,
        )
        if outcome is Watch.HELD:
            return GaveUp.DEADLINE
        if outcome is Watch.SPENT:
            return GaveUp.BUDGET
        self.is_blind = self.is_blind or outcome is Watch.BLIND
        ended = yield from now()
        # A lock that looks free and is not, again and again, is not asked for in a tight loop.
        if ended - began < self.policy.floor and self.waits > 1:
            delay = self._delay(self.ends_at - ended, None, None)
            if delay is None:
                return GaveUp.DEADLINE
            yield from sleep(delay)
        return None

    def _discoverable(self, response: ClientResponse, details: LockedDetails) -> str:
        """The URL at which lock discovery may show the lock; empty where it is as cheap to ask again, or nothing is shown."""
        if self.request.method == "LOCK" or not self._speaks_dav(response, details) or not details.locks:
            return ""
        return next((url for url in details.candidates if same_origin(url, self.request.url)), "")


def _with(request: OwnRequest, fields: Mapping[str, str]) -> OwnRequest:
    if not fields:
        return request
    return msgspec.structs.replace(request, headers=Headers([*request.headers.items(), *fields.items()]))


def _holding(request: OwnRequest, seconds: int) -> OwnRequest:
    return _with(request, {"Prefer": render_prefer(Preferences(wait=seconds))})


def _was_held(response: ClientResponse, took: float) -> bool:
    """True where the server did hold the line (RFC 7240 section 3), and not only say so."""
    applied = parse_prefer(response.headers.get("preference-applied")).wait
    return applied is not None and applied >= 1 and took >= applied / 2
