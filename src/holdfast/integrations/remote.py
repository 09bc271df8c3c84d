"""Locks at a Holdfast server, which the application shares with others.

Owns: speaking for many people with the application's one account, and reading what the server answers. Must not know: frameworks.
The conversation about a new lock is the client's own (`client.acquiring`).

Theory of operation. To the server every lock of the application is the application's, so that it needs no more there than the right
to lock its own resources. Whose lock it is here stands in the lock's owner, and is bound to its token: what the application hands
out is the server's token with the lock's id and a code (HMAC, RFC 2104) over both and the person's name, keyed with the
application's credentials. So any worker can tell without asking whether a token is submitted by the person that it was given to,
and one that somebody else got hold of opens nothing. Locks that others have at the server are in the way like any.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from holdfast.client.acquiring import Acquisition, Ask, BreakFirst
from holdfast.client.api import Client
from holdfast.client.errors import LockedError
from holdfast.client.exchange import ClientResponse
from holdfast.client.flows import Flow, send
from holdfast.client.lockviews import decoded
from holdfast.client.refusals import RefusedError, UnreachableError, retry_seconds
from holdfast.core.conditions import IfHeader
from holdfast.core.decisions import Effect, Reach, Standing
from holdfast.core.model import Depth, Face, Lock
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import EndedLock, EndedProblem, GrantedLock, LockPage, ShownLock
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import ended_text
from holdfast.integrations.backends import DEFAULT_PRINCIPAL, Wanted
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import ContendingLock, LockedAnswer, parse_locked_problem
from holdfast.wire.problem_json import Holder, LockDescription

if TYPE_CHECKING:
    from holdfast.client.sending import HttpClient

__all__ = ["RemoteBackend"]

_logger = logging.getLogger("holdfast.integrations")

T = TypeVar("T")

_BETWEEN: Final = " — "
"""Stands between a person's name and what it says of itself, in the owner of a lock."""

_TOKEN: Final = re.compile(r"urn:holdfast:([A-Za-z0-9_-]{1,64}):([0-9a-f-]{36}):([A-Za-z0-9_-]{22})")
_SERVER_TOKEN: Final = "urn:uuid:"  # noqa: S105 - how a token begins
_WITHIN_S: Final = 10.0
_PASSED_ON: Final = frozenset({400, 404, 409, 410, 412, 422, 507})


class _Account(msgspec.Struct, frozen=True):
    """Who the application is at the server."""

    name: str


class _Proof(msgspec.Struct, frozen=True):
    """A token that was handed out to the person who submits it."""

    lock_id: str
    token: str


class RemoteBackend:
    """A LockBackend at a Holdfast server; satisfies `backends.LockBackend`."""

    def __init__(
        self, url: str, *, token: str = "", auth: tuple[str, str] | None = None, http: HttpClient | None = None
    ) -> None:
        """Connect to nothing yet. Raises ValueError where `url` is none."""
        self._url = url
        self._token = token
        self._auth = auth
        self._http = http
        self._key = hashlib.blake2b("\n".join((url.rstrip("/"), token, *(auth or ()))).encode()).digest()
        self._opening = threading.Lock()
        self._opened: tuple[int, Client] | None = None
        self._account = ""
        if http is None:
            Client(url, token=token).close()  # what is wrong with the URL is said now

    # -- LockBackend --------------------------------------------------------------------------------

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check. An If header is judged here, by what the server tells of each lock that it names."""
        submitted = list(tokens)
        if condition is not None:
            down = effects[0].reach is Reach.TREE
            if not condition.holds(_State(self, principal), reaches_down=down):
                raise RefusalError(412, "The If header is false: the locks are not as the request assumes.")
            submitted += [item.token for item in condition.submissions(reaches_down=down)]
        proofs = [proof for proof in (self._proof(text, principal) for text in submitted) if proof is not None]
        body = {
            "resource": effects[0].resource.href(),
            "effects": [{"resource": effect.resource.href(), "reach": effect.reach.value} for effect in effects],
            "tokens": list(dict.fromkeys(proof.token for proof in proofs)),
        }
        response = self._ask("POST", "/api/check", body)
        if response.status == 204:
            return None
        if response.status == 423:
            return self._locked(response, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)
        raise self._refusal(response)

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """As LockBackend.acquire."""
        ask = Ask(
            resource=wanted.resource.href(),
            ttl=wanted.ttl,
            wait=wanted.wait,
            scope=wanted.scope.value,
            depth=wanted.depth.value,
            owner=_owner(wanted.principal, wanted.owner),
            reason=wanted.reason,
            id=wanted.lock_id,
            first_break=self._break_first(wanted),
        )
        acquisition = Acquisition(self._client()._endpoint, ask)
        try:
            grant = self._run(acquisition.run())
        except LockedError as error:
            return self._locked(ClientResponse.of(error.response), wanted.resource, Condition.NO_CONFLICTING_LOCK)
        shown = self.describe(grant.id)
        if not isinstance(shown, ShownLock):
            raise RefusalError(410, "The lock was granted, and has ended already.")
        members: dict[str, Any] = msgspec.structs.asdict(shown)
        token = self._handed_out(grant.id, grant.token, wanted.principal)
        return GrantedLock(**members, token=token, fencing_token=grant.fencing_token or 0, ttl=grant.ttl)

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        body = {"token": self._own(lock_id, token, principal, "refresh").token} | _ttl(ttl)
        response = self._ask("POST", f"{_address(lock_id)}/refresh", body)
        if response.status != 200:
            raise self._refusal(response)
        lock = decoded(response, GrantedLock)
        return self._granted(lock, principal)

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        proof = self._own(lock_id, token, principal, "release")
        response = self._ask("DELETE", _address(lock_id), lock_token=proof.token)
        if response.status != 204:
            raise self._refusal(response)

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """As LockBackend.break_. Of locks that are none of the application's the server itself decides."""
        held = self.describe(lock_id)
        if held is None:
            raise RefusalError(404, "No lock with this id is known here.")
        if isinstance(held, ShownLock) and held.holder.name != principal and not may_break:
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to break.")
        body: dict[str, object] = {"reason": f"{reason}{_BETWEEN}{_plain(principal)}", "after": after}
        response = self._ask("POST", f"{_address(lock_id)}/break", body)
        if response.status == 202:
            return self._shown(decoded(response, ShownLock))
        if response.status == 200:
            return self._ended(decoded(response, EndedLock))
        if response.status == 403:
            raise RefusalError(403, "This lock is none of the application's, which has no right to break it.")
        raise self._refusal(response)

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """As LockBackend.take_over."""
        held = self.describe(lock_id)
        if held is None:
            raise RefusalError(404, "No lock with this id is known here.")
        if isinstance(held, ShownLock) and held.holder.name != principal:
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to take over.")
        said = {} if owner is None else {"owner": _owner(principal, owner)}
        response = self._ask("POST", f"{_address(lock_id)}/take-over", _ttl(ttl) | said)
        if response.status not in {200, 201}:
            raise self._refusal(response)
        lock = decoded(response, GrantedLock)
        return self._granted(lock, principal)

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        response = self._ask("GET", _address(lock_id))
        if response.status == 200:
            return self._shown(decoded(response, ShownLock))
        if response.status == 404:
            return None
        ended = decoded(response, EndedProblem).ended if response.status == 410 else None
        if ended is None:
            raise self._refusal(response)
        return self._ended(ended)

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """As LockBackend.find."""
        response = self._ask("GET", f"/api/locks?limit=1000&covering={quote(covering.href(), safe='')}")
        if response.status != 200:
            raise self._refusal(response)
        return [self._shown(lock) for lock in decoded(response, LockPage).locks]

    def close(self) -> None:
        """As LockBackend.close."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def matching_lock(self, token: str, principal: str) -> Lock | None:
        """The held lock with this token, where it was handed out to `principal`."""
        proof = self._proof(token, principal)
        held = None if proof is None else self.describe(proof.lock_id)
        if not isinstance(held, ShownLock):
            return None
        return Lock(
            id=held.id,
            token=token,
            root=ResourcePath.from_target(held.root),
            scope=held.scope,
            depth=held.depth,
            principal=principal,
            owner=held.holder.owner,
            owner_xml=None,
            reason=held.reason,
            client=held.holder.client,
            face=held.face,
            fencing_token=0,
            created_at=held.since,
            refreshed_at=held.refreshed_at,
            expires_at=held.expires_at,
        )

    # -- tokens -------------------------------------------------------------------------------------

    def _code(self, lock_id: str, uuid: str, principal: str) -> str:
        digest = hmac.digest(self._key, f"{lock_id}\n{uuid}\n{principal}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")

    def _handed_out(self, lock_id: str, token: str, principal: str) -> str:
        uuid = token.removeprefix(_SERVER_TOKEN)
        return f"urn:holdfast:{lock_id}:{uuid}:{self._code(lock_id, uuid, principal)}"

    def _proof(self, text: str, principal: str) -> _Proof | None:
        found = _TOKEN.fullmatch(text)
        if found is None or not hmac.compare_digest(found[3], self._code(found[1], found[2], principal)):
            return None
        return _Proof(found[1], _SERVER_TOKEN + found[2])

    def _own(self, lock_id: str, text: str, principal: str, verb: str) -> _Proof:
        proof = self._proof(text, principal)
        if proof is not None and proof.lock_id == lock_id:
            return proof
        held = self.describe(lock_id)
        if held is None:
            raise RefusalError(404, "No lock with this id is known here.")
        if isinstance(held, ShownLock) and held.holder.name == principal:
            raise RefusalError(403, f"To {verb} this lock takes its token; the one that was given is another.")
        raise RefusalError(403, f"The lock was created by somebody else, so it is not yours to {verb}.")

    # -- what the server says, in the application's words --------------------------------------------

    def _holder(self, holder: Holder) -> Holder:
        """The person that holds a lock of the application's; of another's, as it is."""
        if holder.name != self._own_name() or not holder.owner:
            return holder
        name, _, owner = holder.owner.partition(_BETWEEN)
        return Holder(name, owner, holder.client)

    def _shown(self, lock: ShownLock) -> ShownLock:
        return msgspec.structs.replace(lock, holder=self._holder(lock.holder))

    def _granted(self, lock: GrantedLock, principal: str) -> GrantedLock:
        return msgspec.structs.replace(
            lock, holder=self._holder(lock.holder), token=self._handed_out(lock.id, lock.token, principal)
        )

    def _ended(self, ended: EndedLock) -> EndedLock:
        """The same of a lock that has ended: who held it, and who broke it."""
        holder = self._holder(Holder(ended.holder, ended.owner, ""))
        was_own = holder.name != ended.holder
        by = holder.name if was_own and ended.by == ended.holder else ended.by
        reason, between, name = ended.reason.rpartition(_BETWEEN)
        if between and ended.by == self._own_name():
            by = name
        else:
            reason = ended.reason
        return msgspec.structs.replace(ended, holder=holder.name, owner=holder.owner, by=by, reason=reason)

    def _locked(self, response: ClientResponse, resource: ResourcePath, condition: Condition) -> LockedAnswer:
        problem = parse_locked_problem(response.body)
        if problem is None:
            raise self._refusal(response)
        now = response.answered_at or datetime.now(UTC)
        length = problem.queue_length if isinstance(problem.queue_length, int) else 0
        position = problem.position if isinstance(problem.position, int) else None
        return LockedAnswer(
            resource=resource,
            locks=tuple(self._contending(lock, now) for lock in problem.locks),
            condition=condition,
            now=now,
            line=Standing(length=length, position=position) if length else None,
            most_retry=max(1, problem.retry_after),
        )

    def _contending(self, lock: LockDescription, now: datetime) -> ContendingLock:
        return ContendingLock(
            id=lock.id,
            root=ResourcePath.from_target(lock.root),
            root_href=lock.root,
            scope=lock.scope,
            depth=lock.depth,
            holder=self._holder(lock.holder),
            reason=lock.reason,
            face=Face.API,
            created_at=lock.since,
            # By the seconds that are left: the clocks of the two machines need not agree.
            expires_at=None if lock.expires_in is None else now + timedelta(seconds=lock.expires_in),
            queue_length=lock.queue_length,
        )

    def _break_first(self, wanted: Wanted) -> BreakFirst | None:
        if not wanted.break_first:
            return None
        if not wanted.may_break and any(lock.holder.name != wanted.principal for lock in self._in_the_way(wanted)):
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to break.")
        return BreakFirst(f"{wanted.break_first}{_BETWEEN}{_plain(wanted.principal)}")

    def _in_the_way(self, wanted: Wanted) -> list[ShownLock]:
        found = self.find(wanted.resource)
        if wanted.depth is Depth.INFINITY:
            response = self._ask("GET", f"/api/locks?limit=1000&under={quote(wanted.resource.href(), safe='')}")
            if response.status != 200:
                raise self._refusal(response)
            found += [self._shown(lock) for lock in decoded(response, LockPage).locks]
        return found

    # -- asking -------------------------------------------------------------------------------------

    def _refusal(self, response: ClientResponse) -> RefusalError:
        try:
            problem = msgspec.json.decode(response.body, type=EndedProblem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            problem = EndedProblem(title="", status=response.status)
        ended = None if problem.ended is None else self._ended(problem.ended)
        detail = problem.detail or problem.title
        if ended is not None and response.status == HTTPStatus.GONE:
            detail = ended_text(ended, response.answered_at or datetime.now(UTC))
        return _passed_on(response.status, detail, ended, retry_seconds(response))

    def _client(self) -> Client:
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened[1]
        with self._opening:
            opened = self._opened
            if opened is None or opened[0] != os.getpid():
                client = Client(self._url, token=self._token, auth=self._auth, http=self._http)
                opened = self._opened = (os.getpid(), client)
            return opened[1]

    def _own_name(self) -> str:
        if not self._account:
            response = self._ask("GET", "/api/session")
            if response.status != 200:
                raise self._refusal(response)
            self._account = decoded(response, _Account).name
        return self._account

    def _ask(self, method: str, path: str, body: object = None, *, lock_token: str = "") -> ClientResponse:
        fields = {"Lock_Token": f"<{lock_token}>"} if lock_token else {}
        request = self._client()._endpoint.request(method, path, body, within=_WITHIN_S, **fields)

        def flow() -> Flow[ClientResponse]:
            response = yield from send(request)
            return response

        return self._run(flow())

    def _run(self, flow: Flow[T]) -> T:
        try:
            return self._client()._run(flow)
        except UnreachableError as error:
            _logger.error("%s", error)  # noqa: TRY400 - the cause is in its sentence
            raise _unavailable() from error
        except RefusedError as error:
            raise _passed_on(error.status, error.detail) from error


class _State:
    """A StateLookup at the server: what is true of the locks that an If header names."""

    def __init__(self, backend: RemoteBackend, principal: str) -> None:
        self._backend = backend
        self._principal = principal

    def matching_lock(self, token: str) -> Lock | None:
        return self._backend.matching_lock(token, self._principal)

    def etag_of(self, resource: ResourcePath) -> str | None:
        return None


def _owner(principal: str, owner: str) -> str:
    name = _plain(principal)
    if name == DEFAULT_PRINCIPAL and not owner:
        return name
    return f"{name}{_BETWEEN}{owner}" if owner else name


def _plain(principal: str) -> str:
    """A person's name as it can stand in an owner. RefusalError 422 where it would not be told from what follows."""
    if not principal or _BETWEEN in principal:
        raise RefusalError(422, "This name cannot hold a lock here.")
    return principal


def _ttl(ttl: float | None) -> dict[str, object]:
    return {} if ttl is None else {"ttl": ttl}


def _address(lock_id: str) -> str:
    return f"/api/locks/{quote(lock_id, safe='')}"


def _passed_on(status: int, detail: str, ended: EndedLock | None = None, retry: float = 0.0) -> RefusalError:
    """What the caller is told of a refusal: its own part in it; what the application is refused is the application's fault."""
    if status in _PASSED_ON:
        return RefusalError(status, detail, ended=ended)
    _logger.error("the Holdfast server refused the application: %d: %s", status, detail)
    return _unavailable(retry)


def _unavailable(retry: float = 0.0) -> RefusalError:
    said = "The server that keeps the locks does not answer as it should; nothing was changed. Try again soon."
    return RefusalError(503, said, headers=(("Retry-After", str(max(1, round(retry)))),))
