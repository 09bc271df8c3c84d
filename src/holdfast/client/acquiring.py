"""Conversations about one's own locks at a Holdfast server: acquire, refresh, release.

Owns: what is sent when, and what each answer means. All of it is flows: no network, thread or clock is in here. Must not
know: who holds the result.

Theory of operation: a client chooses the id of its lock, so whatever is cut is simply asked again: the same id gives the same
grant, and keeps its place in line. A wait goes in slices, since proxies cut connections that say nothing for a minute. What
was granted at an unknown moment (after a wait, or by an earlier request) is refreshed at once, so that its deadline counts
from before a request that surely began its timer anew.
"""

from __future__ import annotations

import contextlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from holdfast import __version__
from holdfast.client.details import LockedDetails
from holdfast.client.errors import LockedError, LostReason
from holdfast.client.exchange import ClientResponse, Headers
from holdfast.client.flows import Flow, notify, now, send, sleep
from holdfast.client.held import Grant
from holdfast.client.holding import Failed, Loss, Outcome, Refreshed
from holdfast.client.lockviews import EndedProblem, GrantedLock, PendingBreak, RefreshResult, RefreshResults, decoded
from holdfast.client.reading import read_locked
from holdfast.client.refusals import RefusedError, UnreachableError, refusal, retry_seconds
from holdfast.client.sending import TimedRequest
from holdfast.core.access import ANONYMOUS
from holdfast.wire.sentences import clean, clock_text

__all__ = ["Acquisition", "Ask", "BreakFirst", "Endpoint", "Mine", "refresh_many", "release"]

_SLICE_S: Final = 50.0
_GRACE_S: Final = 10.0
_FIRST_TOLD_S: Final = 0.25  # whoever wants to be told has a place in line by then
_TOLD_EACH_S: Final = 2.0
_HELD_LINE_S: Final = 0.5  # an answer that comes sooner was not waited for
_PATIENCE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 2.0
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_RESTARTS: Final = 3


class BreakFirst(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an administrator breaks in the same step: the lock with this id, or all that are in the way.

    >>> BreakFirst("Upgrade").id is None
    True
    """

    reason: str
    id: str | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is wanted. `ttl` and `wait` are in seconds; ttl None is the server's usual time, infinite is without end."""

    resource: str
    ttl: float | None = None
    wait: float = 0.0
    scope: str = "exclusive"
    depth: str = "0"
    owner: str = ""
    reason: str = ""
    id: str | None = None
    first_break: BreakFirst | None = None

    def members(self, lock_id: str, wait: float) -> dict[str, object]:
        """The body of the request."""
        members: dict[str, object] = {
            "resource": self.resource,
            "scope": self.scope,
            "depth": self.depth,
            "id": lock_id,
            **ttl_member(self.ttl),
        }
        members |= {name: text for name, text in (("owner", self.owner), ("reason", self.reason)) if text}
        if wait > 0:
            members["wait"] = round(wait, 3)
        if self.first_break is not None:
            members["break"] = self.first_break
        return members


class Mine(msgspec.Struct, frozen=True):
    """A lock of one's own: what a refresh has to name."""

    id: str
    token: str
    asked: float | None

    def __repr__(self) -> str:
        """All but the token."""
        return f"Mine({self.id!r})"


class Endpoint(msgspec.Struct, frozen=True):
    """Where a server is, and what every request to it carries. `base` has no slash at its end."""

    base: str
    bearer: str = ""

    def request(
        self, method: str, path: str, body: object = None, *, within: float = _GRACE_S, **fields: str
    ) -> TimedRequest:
        """A request with JSON in it; `fields` are more headers, with underscores for hyphens."""
        headers = {
            "Accept": "application/problem+json, application/json",
            "User-Agent": f"holdfast-client/{__version__}",
            **{name.replace("_", "-"): text for name, text in fields.items()},
        }
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        return TimedRequest(
            method=method, url=self.base + path, headers=Headers(headers.items()), body=content, within=within
        )

    def __repr__(self) -> str:
        """Without its secret."""
        return f"Endpoint({self.base!r})"


class Acquisition:
    """One lock that is being acquired, from the first request to the grant."""

    def __init__(self, endpoint: Endpoint, ask: Ask, *, tell: Callable[[LockedDetails], object] | None = None) -> None:
        """Choose an id, unless the caller has. `tell` hears every two seconds of the wait who is in the way, and of the place in line."""
        self._endpoint = endpoint
        self._ask = ask
        self._tell = tell
        self.id = ask.id or _new_id()
        self.attempts = 0
        self._begun = 0.0
        self._until = 0.0
        self._troubles = 0
        self._trouble_at = 0.0
        self._restarts = 0
        self.is_unsure = False
        """True while a request is out that may have been granted."""

    def run(self) -> Flow[Grant]:
        """Acquire. Raises LockedError where it is not granted in time, RefusedError, UnreachableError."""
        self._begun = yield from now()
        self._until = self._begun + self._ask.wait
        while True:
            asked_at = yield from now()
            wait = min(max(0.0, self._until - asked_at), self._slice())
            try:
                response = yield from self._post(wait)
            except UnreachableError as error:
                yield from self._pause(error)
                continue
            if response.status in {200, 201}:
                grant = yield from self._granted(response, asked_at)
                if grant is not None:
                    return grant
            else:
                self.is_unsure = False
                yield from self._refused(response, asked_at, wait)

    def _slice(self) -> float:
        """How long one request waits at most, in seconds: the answer to each tells how the line stands."""
        if self._tell is None:
            return _SLICE_S
        return _TOLD_EACH_S if self.attempts else _FIRST_TOLD_S

    def abandon(self) -> Flow[None]:
        """Whoever asked has gone: give back what may have been granted meanwhile, if it can be done quickly."""
        if not self.is_unsure or self._ask.id is not None:
            return  # under an id of the caller's choice the grant can be asked for again
        try:
            response = yield from self._post(0.0, within=2.0)
            if response.status in {200, 201}:
                lock = decoded(response, GrantedLock)
                yield from send(self._endpoint.request("DELETE", lock.url, within=2.0, Lock_Token=f"<{lock.token}>"))
        except (UnreachableError, RefusedError):
            return
        yield from self._leave(read_locked(response))

    def _leave(self, details: LockedDetails | None) -> Flow[None]:
        """Give up the place in line, where there is one, so that nobody stands behind somebody who has gone.

        A caller who has chosen the id keeps it, and may come back to it.
        """
        if details is None or details.position is None or self._ask.id is not None:
            return
        with contextlib.suppress(UnreachableError):
            yield from send(self._endpoint.request("DELETE", f"/api/locks/{self.id}", within=2.0))

    def _post(self, wait: float, within: float = _GRACE_S) -> Flow[ClientResponse]:
        self.attempts += 1
        was_unsure, self.is_unsure = self.is_unsure, True
        body = self._ask.members(self.id, wait)
        try:
            response = yield from send(self._endpoint.request("POST", "/api/locks", body, within=wait + within))
        except UnreachableError as error:
            self.is_unsure = was_unsure or error.was_sent
            raise
        return response

    def _granted(self, response: ClientResponse, asked_at: float) -> Flow[Grant | None]:
        """The grant; None where it had ended again before it was heard of."""
        lock = decoded(response, GrantedLock)
        ttl = lock.ttl
        answered_at = yield from now()
        if ttl is not None and (response.status == 200 or answered_at - asked_at > ttl / 6):
            fresh = yield from self._restarted(lock)
            if fresh is None:
                return None
            asked_at, ttl = fresh.asked_at, fresh.ttl
        return Grant(
            resource=lock.root,
            id=lock.id,
            token=lock.token,
            asked_at=asked_at,
            ttl=ttl,
            asked=self._ask.ttl,
            fencing_token=lock.fencing_token,
            scope=lock.scope,
            depth=lock.depth,
        )

    def _restarted(self, lock: GrantedLock) -> Flow[Refreshed | None]:
        while True:
            [outcome] = yield from refresh_many(self._endpoint, [Mine(lock.id, lock.token, self._ask.ttl)], _GRACE_S)
            if isinstance(outcome, Refreshed):
                return outcome
            if isinstance(outcome, Loss):
                self.is_unsure = False
                self._restart(outcome.as_error(lock.root))
                return None
            yield from self._pause(outcome.error, outcome.retry_after)

    def _refused(self, response: ClientResponse, asked_at: float, wait: float) -> Flow[None]:
        """Return to ask again; else raise."""
        if response.status in _TRY_AGAIN:
            yield from self._pause(refusal(response), retry_seconds(response))
            return
        self._troubles = 0
        if response.status == 409:
            problem = _problem(response)
            if problem is not None and problem.ended is not None:
                self._restart(refusal(response))
                return
        if response.status != 423:
            raise refusal(response)
        answered_at = yield from now()
        left = self._until - answered_at
        details = read_locked(response)
        if left <= 0 or details is None:
            yield from self._leave(details)
            raise (
                refusal(response)
                if details is None
                else LockedError(
                    details,
                    response,
                    waited=answered_at - self._begun if self._ask.wait else 0.0,
                    attempts=self.attempts,
                )
            )
        if self._tell is not None:
            yield from notify(self._tell, details)
        if answered_at - asked_at < min(
            _HELD_LINE_S, wait / 2
        ):  # not let into the line: it is full, or the server is being stopped
            yield from sleep(min(left, max(0.5, retry_seconds(response)) * _spread()))

    def _restart(self, error: Exception) -> None:
        """Go on with a new id, where the old one had been granted and has ended unheard; not for ever."""
        self._restarts += 1
        if self._ask.id is not None or self._restarts > _RESTARTS:
            raise error
        self.id = _new_id()

    def _pause(self, error: Exception, least: float = 0.0) -> Flow[None]:
        """Let some time pass after a failure; raises it where the time is over, the one for a doubtful grant included."""
        at = yield from now()
        if not self._troubles:
            self._trouble_at = at
        pause = max(min(_LONGEST_PAUSE_S, 0.1 * 2**self._troubles) * _spread(), least)
        self._troubles += 1
        until = max(self._until, self._trouble_at + _PATIENCE_S) if self.is_unsure else self._until
        if at + pause > until:
            raise error
        yield from sleep(pause)


def refresh_many(endpoint: Endpoint, locks: Sequence[Mine], within: float) -> Flow[list[Outcome]]:
    """Refresh up to 256 locks with one request, which may take so many seconds; an outcome for each, in order."""
    body = {"locks": [{"id": lock.id, "token": lock.token, **ttl_member(lock.asked)} for lock in locks]}
    asked_at = yield from now()
    failed: Failed
    try:
        response = yield from send(endpoint.request("POST", "/api/locks/refresh", body, within=within))
        if response.status == 200:
            results = decoded(response, RefreshResults).results
            if len(results) == len(locks):
                return [_outcome(result, asked_at) for result in results]
        error = refusal(response)
        failed = Failed(error, retry_seconds(response), is_refusal=response.status in {401, 403})
    except (UnreachableError, RefusedError) as trouble:
        failed = Failed(trouble)
    return [failed] * len(locks)


def release(endpoint: Endpoint, lock_id: str, token: str, patience: float = _PATIENCE_S) -> Flow[Loss | None]:
    """Give a lock back; a Loss where it had ended otherwise. Tries for so many seconds, then raises what stood in the way."""
    begun = yield from now()
    troubles = 0
    while True:
        request = endpoint.request(
            "DELETE", f"/api/locks/{lock_id}", Lock_Token=f"<{token}>", within=max(1.0, patience)
        )
        least = 0.0
        try:
            response = yield from send(request)
        except UnreachableError as error:
            trouble: Exception = error
        else:
            if 200 <= response.status < 300:
                return None
            if response.status in {404, 410}:
                return loss_of(_problem(response))
            trouble, least = refusal(response), retry_seconds(response)
            if response.status not in _TRY_AGAIN:
                raise trouble
        pause = max(min(_LONGEST_PAUSE_S, 0.1 * 2**troubles) * _spread(), least)
        troubles += 1
        at = yield from now()
        if at + pause > begun + patience:
            raise trouble
        yield from sleep(pause)


def loss_of(problem: EndedProblem | None) -> Loss:
    """How a lock ended, as its former holder is told."""
    if problem is None or problem.ended is None:
        detail = "" if problem is None else problem.detail
        return Loss(reason=LostReason.GONE, detail=detail)
    ended = problem.ended
    reason = _ENDS.get(ended.how, LostReason.GONE)
    return Loss(reason=reason, detail=problem.detail, by=ended.by, why=ended.reason)


_ENDS: Final = {
    "broken": LostReason.BROKEN,
    "expired": LostReason.EXPIRED,
    "released": LostReason.RELEASED_ELSEWHERE,
    "destroyed": LostReason.RELEASED_ELSEWHERE,
}


def ttl_member(ttl: float | None) -> dict[str, Any]:
    """How a time is asked for in JSON: a number, null for one without end, nothing for the usual one."""
    if ttl is None:
        return {}
    return {"ttl": None if ttl == float("inf") else ttl}


def _outcome(result: RefreshResult, asked_at: float) -> Outcome:
    if result.lock is not None:
        return Refreshed(asked_at, result.lock.ttl, _loss_to_come(result.lock.breaking))
    problem = result.problem
    detail = "" if problem is None else problem.detail
    if result.status in {404, 410}:
        return loss_of(problem)
    if result.status == 403:
        return Loss(reason=LostReason.REFUSED, detail=detail)
    return Failed(RefusedError(result.status, detail))


def _loss_to_come(pending: PendingBreak | None) -> Loss | None:
    if pending is None:
        return None
    at = clock_text(pending.at, datetime.now(UTC))
    why = f"; reason: {clean(pending.reason)}" if pending.reason else ""
    by = "Somebody" if pending.by == ANONYMOUS.name else clean(pending.by)
    detail = f"{by} breaks it at {at}{why}."
    return Loss(reason=LostReason.BROKEN, detail=detail, by=pending.by, why=pending.reason)


def _problem(response: ClientResponse) -> EndedProblem | None:
    try:
        return msgspec.json.decode(response.body, type=EndedProblem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _new_id() -> str:
    return f"c-{uuid.uuid4().hex}"


def _spread() -> float:
    """From 0.75 to 1.25: those who were cut at one moment shall not come back at one."""
    return 0.75 + secrets.randbelow(1000) / 2000
