"""A lock service with a clock that the test moves, over any store, and short ways to ask it things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.conditions import ConditionList, EtagCondition, IfHeader, TokenCondition
from holdfast.core.decisions import Effect, Reach, Refused
from holdfast.core.model import Depth, Event, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.service import AcquireRequest, Claim, Limits, LockService, WriteRequest
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
