"""SimulatedLocks: the 423 that a real lock stands behind, which counts down, is waited for, refreshed, released, broken.

Owns: what `lock=KEY` asks for, the names of these locks, which answer goes with how one stands, and the addresses below
`/api/status/locks`. Must not know: the rules of locking, or how a 423 reads.

Theory of operation. The lock KEY stands on `/simulated/KEY`, and its id is `simulated-N-KEY`. One id is one lock for ever,
so each fresh start takes the next N. Whether it is held, and how it ended, is thus known to the store alone, where all worker
processes meet: the lock on that path is one look-up, and the last N that was used is found in steps that double. Its holder
exists by name only. Whoever waits for its end stands in the fair line as for any lock, and lets go at once when the turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET

from holdfast.clock import Clock
from holdfast.core.access import Principal, Role
from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Event, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.core.queueing import ahead_of, waiting
from holdfast.faces.simulator.answer import Moment, Real, simulate
from holdfast.faces.simulator.diagnosis import LockSeen
from holdfast.faces.simulator.face import LOCKS, own_fields, refusal, say
from holdfast.faces.simulator.lock_options import KEY, LOCK_OPTIONS, Terms, check_together, read_asked, read_terms
from holdfast.faces.simulator.lock_shown import Shown, ended_sentence, show
from holdfast.faces.simulator.options import Caps, OptionError, Options, parse_options
from holdfast.faces.simulator.sharing import for_own_pages, is_of_other_page, unshared
from holdfast.live.line import GivenUpError, WaitingLine
from holdfast.registry import BreakOrder, Filter, Found, Granted, LockRegistry, Renewal
from holdfast.service import AcquireRequest, Claim, Queued, Stay
from holdfast.store.protocol import Store, StoreError
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Request, Response
from holdfast.wire.locked import ContendingLock, LockedAnswer, locked_response
from holdfast.wire.prefer import Preferences, parse_prefer, render_prefer

__all__ = ["SIMULATED", "SimulatedLocks"]

SIMULATED: Final = ResourcePath("/simulated")
"""Where the locks stand in the one namespace, each on a member of its key."""

_DEFAULT_SPAN: Final = timedelta(seconds=10)
_DEFAULT_HOLDER: Final = "Ada"
_NOTE: Final = "This lock is simulated."
_WAITS: Final = "waits for the simulated lock to end"

_STAYS_ENDED: Final = timedelta(hours=1)
"""For so long a lock that has ended is told of as ended; then its key begins anew by itself, for whoever tries it again."""

_BRIEF: Final = timedelta(seconds=1)
_ATTEMPTS: Final = 4
_MOST_NUMBERS: Final = 1 << 20
_MOST_SHOWN: Final = 20
_CAPS: Final = Caps(delay_s=0.0, size_bytes=0)


class _Stand(msgspec.Struct, frozen=True):
    """The locks that are held on a key's path or above it; without any, how its last one `ended`, where that is known.

    `refused` is what came of waiting, where others are next in line.
    """

    held: tuple[Found, ...] = ()
    ended: Event | None = None
    is_new: bool = False
    refused: Refused | None = None

    @property
    def locks(self) -> list[Lock]:
        """All that are in the way."""
        refused = () if self.refused is None else self.refused.contentions
        return [*(found.lock for found in self.held), *(item.lock for item in refused)]

    @property
    def is_held(self) -> bool:
        """True where the answer is 423."""
        return bool(self.held) or self.refused is not None


class SimulatedLocks:
    """Satisfies `face.RealLocks`. Safe from any thread."""

    options: Mapping[str, str] = LOCK_OPTIONS

    def __init__(
        self,
        registry: LockRegistry,
        line: WaitingLine,
        store: Store,
        clock: Clock,
        *,
        most: int,
        prefix: str = "",
        is_open_to_pages: bool = False,
    ) -> None:
        """Keep up to `most` locks at once, in the store of `registry`.

        `prefix` begins the names of their holders, so that none is a user's; a server without users needs none.
        `is_open_to_pages`: pages of other sites may begin, change and read these locks too; for a store of trials only.
        """
        self._registry = registry
        self._line = line
        self._store = store
        self._clock = clock
        self._most = most
        self._prefix = prefix
        self._is_open_to_pages = is_open_to_pages

    # -- the simulated answer -------------------------------------------------------------------------

    def answer(self, code: int, request: Request, principal: Principal, options: Options, body: bytes) -> Response:
        """423 while the lock is held, 200 once it has ended; the first request begins it. Raises OptionError, StoreError."""
        if self._keeps_off(request):
            return for_own_pages()
        key, terms = read_asked(options)
        check_together(code, options)
        resource = _resource(key)
        refused = _judge(principal, resource, Role.READER)
        if refused is not None:
            return refused
        wait_s = parse_prefer(request.headers.get(b"prefer")).wait
        applied: tuple[tuple[str, str], ...] = ()
        if wait_s is not None:
            wait_s = min(wait_s, int(self._line.longest.total_seconds()))
            applied = (("Preference-Applied", render_prefer(Preferences(wait=wait_s))),)
        tell = partial(self._tell, key, request, options, body, applied)
        now = self._store.now()
        stand = self._stand(key, terms, principal)
        if isinstance(stand, Response):
            return stand
        if stand.held and wait_s:
            return _judge(principal, resource, Role.WRITER) or self._park(key, principal, wait_s, tell)
        return tell(stand, now)

    def _tell(
        self,
        key: str,
        request: Request,
        options: Options,
        body: bytes,
        applied: tuple[tuple[str, str], ...],
        stand: _Stand,
        now: datetime,
    ) -> Response:
        """The simulated answer about how it stands. `now` is no later than what was looked at, so that what was held still is."""
        moment = self._moment(now, *stand.locks)
        state = f"{LOCKS}/{key}"
        if not stand.is_held:
            ended = UNSET if stand.ended is None else ended_sentence(stand.ended, moment)
            real = Real(
                LockSeen(key, held=False, state=state, ended=ended), None, applied, is_shared=self._is_open_to_pages
            )
            return simulate(200, request, body, options, moment=moment, real=real)
        condition = Condition.NO_CONFLICTING_LOCK if request.method == "LOCK" else Condition.LOCK_TOKEN_SUBMITTED
        locked = self._locked(key, stand, condition, moment)
        is_shared = self._is_open_to_pages and self._are_ours(key, stand)
        real = Real(LockSeen(key, held=bool(stand.held), state=state), locked, applied, is_shared=is_shared)
        response = simulate(423, request, body, options, moment=moment, real=real)
        response.awaits_sync = stand.is_new
        return response

    def _locked(self, key: str, stand: _Stand, condition: Condition, moment: Moment) -> LockedAnswer:
        refused = stand.refused
        line = None if refused is None else refused.line
        if refused is None:
            locks = [ContendingLock.of(found.lock, queue_length=found.queue_length) for found in stand.held]
        else:
            lengths = {} if line is None else line.lengths
            distinct = {item.lock.id: item.lock for item in refused.contentions}
            locks = [ContendingLock.of(lock, queue_length=lengths.get(lock.id, 0)) for lock in distinct.values()]
        is_ours = any(self._is_ours(key, lock.id, lock.root, lock.holder.name) for lock in locks)
        return LockedAnswer(
            resource=_resource(key),
            locks=tuple(locks),
            condition=condition,
            now=moment.now,
            wall_offset=moment.wall_offset,
            note=_NOTE if is_ours else "",
            line=line,
        )

    def _park(
        self, key: str, principal: Principal, wait_s: int, tell: Callable[[_Stand, datetime], Response]
    ) -> Response:
        """Wait in line until nothing is in the way: the turn is a lock of the requester's own, which ends at once."""
        name: str | None = None
        request = AcquireRequest(
            claim=Claim(_resource(key), principal.name),
            scope=LockScope.EXCLUSIVE,
            depth=Depth.ZERO,
            asked=_BRIEF,
            reason=_WAITS,
            face=Face.API,
        )

        def attempt(stay: Stay) -> Response | Queued:
            nonlocal name
            now = self._store.now()
            found = self._registry.acquire(request, lock_id=name, may_break=_nobody, stay=stay)
            if isinstance(found, Queued):
                name = found.waiter.id
                return found
            if isinstance(found, Refused):
                return tell(_Stand(refused=found), now) if found.is_locked else _no_room()
            if isinstance(found, Granted):
                self._registry.release(found.lock.id, found.lock.token, principal.name)
            return tell(_Stand(ended=self._last(key)[1]), now)

        found = attempt(Stay.PARKED)
        if isinstance(found, Response):
            return found
        wait = timedelta(seconds=wait_s)
        return Response(200, [], self._line.park(found.waiter, attempt, failed=_failed, wait=wait, keeps_place=False))

    # -- how it stands --------------------------------------------------------------------------------

    def _stand(self, key: str, terms: Terms, principal: Principal) -> _Stand | Response:
        """How the lock stands, begun now where nothing is known of it any more."""
        for attempt in range(_ATTEMPTS):
            held = self._held(key)
            if held:
                return _Stand(held)
            number, ended = self._last(key)
            if ended is not None and self._store.now() - ended.at < _STAYS_ENDED:
                return _Stand(ended=ended)
            begun = self._begin(key, terms, principal, number + 1 + attempt)
            if begun is not None:
                return begun
        return _try_again()

    def _held(self, key: str) -> tuple[Found, ...]:
        """What is in the way of a write to the lock's path, whosever it is."""
        return tuple(self._registry.find(Filter(covering=_resource(key)), _anyone, None, _MOST_SHOWN).found)

    def _last(self, key: str) -> tuple[int, Event | None]:
        """The last number that was used for a lock of this key, 0 for none; and how that lock ended, where it has."""

        def known(number: int) -> Found | Event | None:
            return self._registry.describe(_lock_id(number, key))

        least, most = 0, 1
        found = last = known(most)
        while found is not None and most < _MOST_NUMBERS:
            least, last = most, found
            most *= 2
            found = known(most)
        while most - least > 1:
            middle = (least + most) // 2
            found = known(middle)
            if found is None:
                most = middle
            else:
                least, last = middle, found
        # An id that somebody chose for a lock elsewhere is used up, and says nothing of this one.
        if isinstance(last, Event) and self._is_ours(key, last.lock_id, last.root, last.holder):
            return least, last
        return least, None

    def _begin(self, key: str, terms: Terms, principal: Principal, number: int) -> _Stand | Response | None:
        """A lock with this number; None where another request was quicker."""
        resource = _resource(key)
        refused = _judge(principal, resource, Role.WRITER)
        if refused is not None:
            return refused
        if len(self._registry.find(Filter(under=SIMULATED), _anyone, None, self._most).found) >= self._most:
            return _no_room()
        request = AcquireRequest(
            claim=Claim(resource, self._prefix + (terms.holder or _DEFAULT_HOLDER)),
            scope=LockScope.EXCLUSIVE,
            depth=Depth.ZERO,
            asked=terms.span or _DEFAULT_SPAN,
            reason=terms.reason or "",
            face=Face.API,
        )
        found = self._registry.acquire(request, lock_id=_lock_id(number, key), may_break=_nobody)
        if isinstance(found, Granted):
            return _Stand((Found(found.lock),), is_new=True)
        if isinstance(found, Refused) and not found.is_locked:
            return _no_room()
        return None

    def _is_ours(self, key: str, lock_id: str, root: ResourcePath, holder: str) -> bool:
        match = _LOCK_ID.fullmatch(lock_id)
        return match is not None and match[1] == key and root == _resource(key) and holder.startswith(self._prefix)

    def _are_ours(self, key: str, stand: _Stand) -> bool:
        return all(self._is_ours(key, lock.id, lock.root, lock.principal) for lock in stand.locks)

    def _keeps_off(self, request: Request) -> bool:
        return not self._is_open_to_pages and is_of_other_page(request)

    def _own(self, key: str, held: tuple[Found, ...]) -> Found | None:
        """Of these locks the simulated one."""
        return next((one for one in held if self._is_ours(key, one.lock.id, one.lock.root, one.lock.principal)), None)

    # -- managing -------------------------------------------------------------------------------------

    def manage(self, request: Request, principal: Principal, key: str | None) -> Response:
        """List, show, refresh or begin anew (PUT), release (DELETE), break (POST). Raises OptionError, StoreError."""
        if request.method not in {"GET", "HEAD"} and self._keeps_off(request):
            return for_own_pages()
        response = self._manage(request, principal, key)
        return response if self._is_open_to_pages else unshared(response)

    def _manage(self, request: Request, principal: Principal, key: str | None) -> Response:
        if key is None:
            return self._list(request, principal)
        name, slash, verb = key.partition("/")
        if KEY.fullmatch(name) is None or (slash and verb != "break"):
            return refusal(404, "There is no such lock: its name has 1 to 40 letters, digits, `_`, `-`.")
        terms = read_terms(self._further(request))
        method = "GET" if request.method == "HEAD" else request.method
        work = (_BREAKING if slash else _MANAGING).get(method)
        if work is None:
            allowed = "POST" if slash else "DELETE, GET, HEAD, PUT"
            detail = f"{request.method[:40]} is not for this address; it takes {allowed}."
            return refusal(405, detail, ("Allow", allowed))
        role = Role.READER if method == "GET" else Role.WRITER
        return _judge(principal, _resource(name), role) or work(self, name, terms, principal)

    def _further(self, request: Request) -> dict[str, str]:
        known = frozenset({"for", "holder", "reason"})
        options = parse_options(
            request.query, request.headers, _CAPS, wall_now=self._clock.now() + self._clock.wall_offset(), further=known
        )
        if options != Options(further=options.further):
            raise OptionError("A lock has the options for, holder and reason; the others are of answers.")
        return options.further

    def _list(self, request: Request, principal: Principal) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return refusal(405, "Here the locks are listed (GET).", ("Allow", "GET, HEAD"))
        now = self._store.now()
        page = self._registry.find(Filter(under=SIMULATED), partial(_may_see, principal), None, self._most)
        keys = [(found.lock.root.name, found) for found in page.found]
        return say({"locks": [self._show(key, found, now) for key, found in keys if self._own(key, (found,))]})

    def _look(self, key: str, _terms: Terms, _principal: Principal) -> Response:
        now = self._store.now()
        own = self._own(key, self._held(key))
        shown = own or self._last(key)[1]
        return _unknown() if shown is None else say(self._show(key, shown, now))

    def _put(self, key: str, terms: Terms, principal: Principal) -> Response:
        """Refresh it, or begin it anew once it has ended."""
        for attempt in range(_ATTEMPTS):
            now = self._store.now()
            held = self._held(key)
            own = self._own(key, held)
            if own is None:
                if held:
                    return self._in_the_way(key, held, now)
                begun = self._begin(key, terms, principal, self._last(key)[0] + 1 + attempt)
                if isinstance(begun, _Stand):
                    url = f"{LOCKS}/{key}"
                    return _synced(say(self._show(key, begun.held[0], now), 201, ("Location", url)))
                if begun is not None:
                    return begun
            else:
                if self._differs(own.lock, terms):
                    return refusal(
                        409, "It is held on other terms: release it first (DELETE). While held, `for` alone counts."
                    )
                renewal = Renewal(own.lock.id, own.lock.token, terms.span or _DEFAULT_SPAN)
                [renewed] = self._registry.refresh([renewal], own.lock.principal)
                if isinstance(renewed, Found):
                    found = msgspec.structs.replace(own, lock=renewed.lock)
                    return _synced(say(self._show(key, found, now)))
        return _try_again()

    def _differs(self, lock: Lock, terms: Terms) -> bool:
        wants_other = terms.holder is not None and self._prefix + terms.holder != lock.principal
        return wants_other or (terms.reason is not None and terms.reason != lock.reason)

    def _release(self, key: str, _terms: Terms, _principal: Principal) -> Response:
        own = self._own(key, self._held(key))
        if own is None:
            return _unknown() if self._last(key)[1] is None else Response(204, own_fields())
        self._registry.release(own.lock.id, own.lock.token, own.lock.principal)
        return Response(204, own_fields(), awaits_sync=True)

    def _break(self, key: str, terms: Terms, principal: Principal) -> Response:
        now = self._store.now()
        own = self._own(key, self._held(key))
        if own is not None:
            order = BreakOrder(own.lock.id, principal.name, terms.reason or "")
            found = self._registry.break_lock(order, _anyone)
            if isinstance(found, Event):
                return _synced(say(self._show(key, found, now)))
        ended = self._last(key)[1]
        if ended is None:
            return _unknown()
        return refusal(410, ended_sentence(ended, self._moment(now)))

    def _in_the_way(self, key: str, held: tuple[Found, ...], now: datetime) -> Response:
        """Somebody else's lock is there: the 423 of any lock that is refused."""
        stand = _Stand(held)
        moment = self._moment(now, *stand.locks)
        response = locked_response(
            self._locked(key, stand, Condition.NO_CONFLICTING_LOCK, moment), None, prefers_xml=False
        )
        own = own_fields()
        names = {name for name, _ in own}
        response.headers = [*(field for field in response.headers if field[0] not in names), *own]
        return unshared(response)

    def _show(self, key: str, found: Found | Event, now: datetime) -> Shown:
        if isinstance(found, Event):
            return show(key, found, (), self._moment(now))
        lock = found.lock
        line = waiting(self._store.peek_waiters(lock.root.lineage), now)
        return show(key, found, ahead_of(line, lock.root, lock.scope, lock.depth), self._moment(now, lock))

    def _moment(self, now: datetime, *locks: Lock) -> Moment:
        """`now`, which came before these were looked at, so that none has expired by it; but not before they were granted."""
        return Moment(max([now, *(lock.refreshed_at for lock in locks)]), self._clock.wall_offset())


_Work = Callable[[SimulatedLocks, str, Terms, Principal], Response]
_MANAGING: Final[Mapping[str, _Work]] = {
    "DELETE": SimulatedLocks._release,
    "GET": SimulatedLocks._look,
    "PUT": SimulatedLocks._put,
}
_BREAKING: Final[Mapping[str, _Work]] = {"POST": SimulatedLocks._break}
_LOCK_ID: Final = re.compile(r"simulated-[0-9]{1,8}-([A-Za-z0-9_-]{1,40})")


def _lock_id(number: int, key: str) -> str:
    return f"simulated-{number}-{key}"


def _resource(key: str) -> ResourcePath:
    return ResourcePath(f"{SIMULATED.text}/{key}")


def _judge(principal: Principal, resource: ResourcePath, least: Role) -> Response | None:
    """403 for a principal who may do less than this at the lock's path."""
    if principal.role_at(resource) >= least:
        return None
    word = "see" if least is Role.READER else "change"
    return refusal(
        403, f"This lock is a real one, on {resource.text}; it needs the {least.name.lower()} role to {word} it."
    )


def _failed(error: Exception) -> Response:
    """The answer in place of what a waiting request raised; raises what is a fault of ours."""
    if isinstance(error, GivenUpError):
        return refusal(409, "Another request of yours gave up this place in line.")
    if isinstance(error, StoreError):
        return refusal(503, "The locks cannot be read at the moment.", ("Retry-After", "1"))
    raise error


def _unknown() -> Response:
    return refusal(404, "No lock of this name is known: a request with lock=, or PUT, begins it.")


def _no_room() -> Response:
    return refusal(503, "As many locks are held as the server keeps; they end by themselves.", ("Retry-After", "5"))


def _try_again() -> Response:
    return refusal(503, "Others change this lock at the same time; try again.", ("Retry-After", "1"))


def _synced(response: Response) -> Response:
    response.awaits_sync = True
    return response


def _anyone(_lock: Lock) -> bool:
    return True


def _nobody(_lock: Lock) -> bool:
    return False


def _may_see(principal: Principal, lock: Lock) -> bool:
    return principal.role_at(lock.root) >= Role.READER
