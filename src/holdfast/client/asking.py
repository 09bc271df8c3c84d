"""Conversations about anybody's locks at a Holdfast server: find, describe, check, history, break, take over.

Owns: what is sent, and what each answer means. All of it is flows. Must not know: who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from holdfast.client.acquiring import Endpoint, ttl_member
from holdfast.client.details import LockedDetails
from holdfast.client.exchange import ClientResponse
from holdfast.client.flows import Flow, now, send
from holdfast.client.held import Grant
from holdfast.client.lockviews import (
    EndedLock,
    EndedProblem,
    FoundLock,
    GrantedLock,
    HistoryPage,
    LockEvent,
    LockPage,
    decoded,
)
from holdfast.client.reading import read_locked
from holdfast.client.refusals import RefusedError, refusal

__all__ = ["Filters", "break_lock", "check", "describe", "find", "history", "query_of", "take_over"]

T = TypeVar("T")

_PAGE: Final = 1000

Filters: TypeAlias = Mapping[str, str | int | tuple[str, ...] | None]
"""What is asked for, by the names of the API's parameters."""


def query_of(filters: Filters) -> str:
    """The query of a request; a filter that is None or empty is left out, one with many values has commas."""
    given = {
        name: ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in filters.items()
        if value is not None and value not in {"", ()}
    }
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def find(endpoint: Endpoint, filters: Filters, limit: int) -> Flow[list[FoundLock]]:
    """GET /api/locks, page by page."""
    found: list[FoundLock] = []
    cursor: str | None = None
    while len(found) < limit:
        query = query_of({**filters, "limit": min(limit - len(found), _PAGE), "cursor": cursor})
        page = yield from _asked(endpoint, "GET", f"/api/locks{query}", LockPage)
        found += page.locks
        cursor = page.next
        if cursor is None:
            break
    return found


def describe(endpoint: Endpoint, lock_id: str) -> Flow[FoundLock | EndedLock | None]:
    """GET /api/locks/{id}."""
    response = yield from send(endpoint.request("GET", _address(lock_id)))
    if response.status == 200:
        return decoded(response, FoundLock)
    if response.status == 410:
        return decoded(response, EndedProblem).ended
    if response.status == 404:
        return None
    raise refusal(response)


def check(
    endpoint: Endpoint, resource: str, tokens: Sequence[str], reach: str, principal: str | None
) -> Flow[LockedDetails | None]:
    """POST /api/check; None where the change may be made now."""
    body: dict[str, object] = {"resource": resource, "tokens": list(tokens)}
    if reach != "content":
        body["effects"] = [{"resource": resource, "reach": reach}]
    if principal is not None:
        body["principal"] = principal
    response = yield from send(endpoint.request("POST", "/api/check", body))
    if response.status == 204:
        return None
    details = read_locked(response) if response.status == 423 else None
    if details is None:
        raise refusal(response)
    return details


def history(endpoint: Endpoint, filters: Filters, after: int, limit: int) -> Flow[list[LockEvent]]:
    """GET /api/history, page by page, the oldest first."""
    events: list[LockEvent] = []
    while len(events) < limit:
        query = query_of({**filters, "after": after, "limit": min(limit - len(events), _PAGE)})
        page = yield from _asked(endpoint, "GET", f"/api/history{query}", HistoryPage)
        events += page.events
        after = page.next
        if not page.more:
            break
    return events


def break_lock(endpoint: Endpoint, lock_id: str, reason: str, after: float) -> Flow[FoundLock | EndedLock]:
    """POST /api/locks/{id}/break; the lock where it has a grace, else how it ended."""
    body: dict[str, object] = {"reason": reason}
    if after:
        body["after"] = after
    response = yield from send(endpoint.request("POST", f"{_address(lock_id)}/break", body))
    if response.status == 202:
        return decoded(response, FoundLock)
    if response.status == 200:
        return decoded(response, EndedLock)
    if response.status == 410:
        ended = decoded(response, EndedProblem).ended
        if ended is not None:
            return ended
    raise refusal(response)


def take_over(
    endpoint: Endpoint, lock_id: str, ttl: float | None, owner: str | None, reason: str | None
) -> Flow[Grant]:
    """POST /api/locks/{id}/take-over."""
    members = {"owner": owner, "reason": reason}
    body = ttl_member(ttl) | {name: text for name, text in members.items() if text is not None}
    asked_at = yield from now()
    lock = yield from _asked(endpoint, "POST", f"{_address(lock_id)}/take-over", GrantedLock, body, ok=(200, 201))
    return Grant(
        resource=lock.root,
        id=lock.id,
        token=lock.token,
        asked_at=asked_at,
        ttl=lock.ttl,
        asked=ttl,
        fencing_token=lock.fencing_token,
        scope=lock.scope,
        depth=lock.depth,
    )


def _address(lock_id: str) -> str:
    return f"/api/locks/{quote(lock_id, safe='')}"


def _asked(
    endpoint: Endpoint, method: str, path: str, kind: type[T], body: object = None, ok: Iterable[int] = (200,)
) -> Flow[T]:
    response: ClientResponse = yield from send(endpoint.request(method, path, body))
    if response.status in ok:
        return decoded(response, kind)
    error: RefusedError = refusal(response)
    raise error
