"""A lock service with a clock that the test moves, over any store, and short ways to ask it things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.conditions import ConditionList, EtagCondition, IfHeader, TokenCondition
from holdfast.core.decisions import Effect, Reach, Refused
from holdfast.core.model import Depth, Event, Face, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.registry import BreakOrder, Granted, IdTaken, LockRegistry, Miss
from holdfast.service import AcquireRequest, Claim, Limits, LockService, Queued, Stay, WriteRequest
from holdfast.store.memory import MemoryStore
from holdfast.store.protocol import Store, WriteTransaction
from holdfast.store.sqlite.store import SqliteStore

EXCLUSIVE, SHARED = LockScope.EXCLUSIVE, LockScope.SHARED
ZERO, INFINITY = Depth.ZERO, Depth.INFINITY


def path(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


def open_store(kind: str, folder: Path, clock: Clock) -> Store:
    if kind == "memory":
        return MemoryStore(clock=clock)
    return SqliteStore(folder / "holdfast.db", clock=clock, durability=Durability.CRASH)


def condition(*lists: tuple[str, list[TokenCondition | EtagCondition]]) -> IfHeader:
    """An If header of lists, each about a resource (tagged)."""
    return IfHeader(tuple(ConditionList(path(about), tuple(items), tagged=True) for about, items in lists))


def holding_out(resource: str, token: str) -> IfHeader:
    """`If: </resource> (<token>)`."""
    return condition((resource, [TokenCondition(token)]))


def always(resource: str, *tokens: str) -> IfHeader:
    """Submits tokens, and is true whether or not they are current (RFC 4918 section 10.4.8)."""
    lists = [(resource, [TokenCondition(token)]) for token in tokens]
    return condition(*lists, (resource, [TokenCondition("DAV:no-lock", negated=True)]))


class World:
    """One store, one service, one movable clock; what is mapped and each resource's entity tag are sets to change."""

    def __init__(self, kind: str, folder: Path, limits: Limits | None = None) -> None:
        self.uptime_us = 1_000_000
        self.etags: dict[str, str] = {}
        self.clock = Clock(read_uptime=lambda: self.uptime_us, read_wall=lambda: 1_800_000_000_000_000)
        self.store = open_store(kind, folder, self.clock)
        self.service = LockService(
            self.store, etag_of=lambda resource: self.etags.get(resource.text), limits=limits or Limits()
        )
        self.registry = LockRegistry(self.service, self.store)

    def pass_time(self, seconds: float) -> None:
        self.uptime_us += int(seconds * 1_000_000)

    def acquire(
        self,
        resource: str,
        principal: str = "ann",
        *,
        scope: LockScope = EXCLUSIVE,
        depth: Depth = ZERO,
        seconds: float | None = 60,
        condition: IfHeader | None = None,
        mapped: bool = True,
        precondition: Callable[[], bool] | None = None,
        create: Callable[[], None] | None = None,
    ) -> Lock | Refused:
        asked = None if seconds is None else timedelta(seconds=seconds)
        request = AcquireRequest(Claim(path(resource), principal, condition), scope, depth, asked, reason="to edit")
        return self.service.acquire(request, is_mapped=lambda: mapped, precondition=precondition, create=create)

    def wait(
        self,
        resource: str,
        principal: str = "ann",
        *,
        scope: LockScope = EXCLUSIVE,
        depth: Depth = ZERO,
        stay: Stay = Stay.PARKED,
        place: Waiter | None = None,
        condition: IfHeader | None = None,
        mapped: bool = True,
        precondition: Callable[[], bool] | None = None,
    ) -> Lock | Refused | Queued:
        """Acquire, standing in line for it; `place` is the one that the request has from its tries before."""
        request = AcquireRequest(Claim(path(resource), principal, condition), scope, depth, timedelta(seconds=60))
        return self.service.acquire(
            request,
            is_mapped=lambda: mapped,
            precondition=precondition,
            stay=stay,
            place_id=None if place is None else place.id,
        )

    def queued(
        self, resource: str, principal: str = "ann", *, scope: LockScope = EXCLUSIVE, depth: Depth = ZERO
    ) -> Waiter:
        """Take a place in line, which must be needed."""
        answer = self.wait(resource, principal, scope=scope, depth=depth)
        assert isinstance(answer, Queued)
        return answer.waiter

    def turn(self, place: Waiter, *, stay: Stay = Stay.PARKED) -> Lock | Refused | Queued:
        """One more try of a request that waits."""
        return self.wait(place.root.text, place.principal, scope=place.scope, depth=place.depth, stay=stay, place=place)

    def named(
        self,
        resource: str,
        lock_id: str,
        principal: str = "ann",
        *,
        stay: Stay | None = Stay.KEPT,
        reason: str = "",
        first: BreakOrder | None = None,
        endless: bool = False,
    ) -> Granted | Refused | Queued | IdTaken | Event | Miss:
        """Acquire through the registry, with an id that the client has chosen."""
        request = AcquireRequest(
            Claim(path(resource), principal), EXCLUSIVE, ZERO, timedelta(seconds=60), reason=reason, face=Face.API
        )
        return self.registry.acquire(
            request, lock_id=lock_id, stay=stay, first=first, endless=endless, may_break=lambda _: True
        )

    def release(self, lock: Lock) -> None:
        assert isinstance(self.service.release(lock.root, lock.token, lock.principal), Lock)

    def line(self) -> list[str]:
        """The ids of all who are kept in line, in its order."""
        with self.store.read() as tx:
            return [waiter.id for waiter in [*tx.waiters_on(["/"]), *tx.waiters_below(path("/"))]]

    def grant(
        self,
        resource: str,
        principal: str = "ann",
        *,
        scope: LockScope = EXCLUSIVE,
        depth: Depth = ZERO,
        seconds: float | None = 60,
    ) -> Lock:
        answer = self.acquire(resource, principal, scope=scope, depth=depth, seconds=seconds)
        assert isinstance(answer, Lock)
        return answer

    def refresh(
        self, resource: str, token: str, principal: str = "ann", *, seconds: float | None = 60, about: str | None = None
    ) -> Lock | Refused:
        claim = Claim(path(resource), principal, holding_out(about or resource, token))
        return self.service.refresh(claim, None if seconds is None else timedelta(seconds=seconds))

    def write(
        self,
        resource: str,
        principal: str = "ann",
        *,
        reach: Reach = Reach.CONTENT,
        tokens: tuple[str, ...] = (),
        condition: IfHeader | None = None,
        destroys: tuple[str, ...] = (),
        reaches_down: bool = False,
        apply: Callable[[WriteTransaction], str] = lambda _: "done",
        precondition: Callable[[], bool] | None = None,
    ) -> str | Refused:
        request = WriteRequest(
            Claim(path(resource), principal, condition, tokens, reaches_down),
            (Effect(path(resource), reach),),
            destroys=tuple(path(text) for text in destroys),
        )
        checked = self.service.check_write(request, precondition)
        answer = self.service.write(request, apply, precondition=precondition)
        # What may be refused before an upload is read is what would be refused after it.
        assert checked == (answer if isinstance(answer, Refused) else None)
        return answer

    def locks(self) -> list[Lock]:
        """All that the store keeps, expired or not."""
        with self.store.read() as tx:
            return [*tx.locks_on(["/"]), *tx.locks_below(path("/"))]

    def events(self, after: int = 0) -> list[Event]:
        with self.store.read() as tx:
            return tx.events_after(after, 10_000)

    def story(self) -> list[tuple[str, str, str]]:
        """The feed as (kind, root, actor)."""
        return [(event.kind.value, event.root.text, event.actor) for event in self.events()]
