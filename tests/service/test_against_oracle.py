"""A random walk through the lock service over each store, beside an oracle that scans all locks for every question."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from holdfast.core.conditions import ConditionList, IfHeader, TokenCondition
from holdfast.core.decisions import Effect, Reach, Refusal, Refused
from holdfast.core.model import Depth, EventKind, Lock, LockScope
from holdfast.service import AcquireRequest, Claim, Queued, Stay, WriteRequest
from holdfast.store.protocol import WriteTransaction
from tests.service.oracle import Held, Oracle, Said, Waits, parent
from tests.service.world import World, path

PATHS = ["/", "/dav", "/dav/a", "/dav/a/b", "/dav/a/b/c", "/dav/ab", "/dav/x"]
# The deep paths meet more often than the others do.
RESOURCES = st.sampled_from([*PATHS[1:], *PATHS[2:5], *PATHS])
PRINCIPALS = st.sampled_from(["ann", "bob"])
# Shared locks stand together, and only then is there more than one lock to reason about.
SCOPES = st.sampled_from([LockScope.SHARED, LockScope.SHARED, LockScope.EXCLUSIVE])
DEPTHS = st.sampled_from([Depth.ZERO, Depth.INFINITY])
SECONDS = st.integers(1, 40)
REACHES = st.sampled_from(Reach)
STAYS = st.sampled_from([Stay.PARKED, Stay.PARKED, Stay.KEPT, Stay.LAST])
PARKED_S, KEPT_S, RENEWED_BELOW_S = 10, 20, 7
MODES = st.sampled_from(
    ["none", "own", "own", "own", "own but one", "another's", "astray", "inside not", "stale", "untagged"]
)


class Walk(RuleBasedStateMachine):
    """The rules are the service's operations; each compares the answer with the oracle's."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.kind, Path(self.folder.name))
        self.oracle = Oracle(PATHS)
        self.start = self.world.clock.now()
        self.greatest_fencing_token = 0
        self.tokens: set[str] = set()
        self.told: dict[str, str] = {}
        self.told_line: dict[str, str] = {}
        self.seq = 0

    def teardown(self) -> None:
        self.world.store.close()
        self.folder.cleanup()

    def lists(self, mode: str, principal: str, resource: str) -> list[Said]:
        """What a request's If header says, by intention."""
        own = [held for held in self.oracle.live() if held.principal == principal]
        others = [held for held in self.oracle.live() if held.principal != principal]
        match mode:
            case "own":
                return [Said(held.token, held.root) for held in own]
            case "own but one":
                return [Said(held.token, held.root) for held in own[1:]]
            case "another's":
                return [Said(held.token, held.root) for held in [*others, *own[:1]]]
            case "astray":
                return [Said(held.token, parent(held.root)) for held in own]
            case "inside not":
                return [Said(held.token, held.root, negated=True) for held in [*own, *others]]
            case "stale":
                return [Said(held.token, held.root) for held in self.oracle.all[-3:]]
            case "untagged":
                return [Said(held.token, resource, untagged=True) for held in own]
            case _:
                return []

    def claim(self, resource: str, principal: str, lists: list[Said], otherwise: bool) -> Claim:
        said = [
            ConditionList(path(item.about), (TokenCondition(item.token, item.negated),), tagged=not item.untagged)
            for item in lists
        ]
        if said and otherwise:
            said.append(ConditionList(path(resource), (TokenCondition("DAV:no-lock", negated=True),), tagged=True))
        header = IfHeader(tuple(said)) if said else None
        return Claim(path(resource), principal, header, reaches_down=any(item.untagged for item in lists))

    def oracle_seconds(self, lock: Lock) -> int:
        assert lock.expires_at is not None
        return self.in_seconds(lock.expires_at)

    def in_seconds(self, instant: datetime) -> int:
        return round((instant - self.start) / timedelta(seconds=1))

    # -- operations -----------------------------------------------------------------------------

    @initialize(root=st.sampled_from(PATHS[1:5]), depth=DEPTHS, scope=SCOPES)
    def begin_with_a_lock(self, root: str, depth: Depth, scope: LockScope) -> None:
        self.acquire(root, "ann", scope, depth, 30, mapped=True, mode="none", otherwise=False)

    @rule(
        resource=RESOURCES,
        principal=PRINCIPALS,
        scope=SCOPES,
        depth=DEPTHS,
        seconds=SECONDS,
        mapped=st.booleans(),
        mode=MODES,
        otherwise=st.booleans(),
    )
    def acquire(
        self,
        resource: str,
        principal: str,
        scope: LockScope,
        depth: Depth,
        seconds: int,
        mapped: bool,
        mode: str,
        otherwise: bool,
    ) -> None:
        lists = self.lists(mode, principal, resource)
        claim = self.claim(resource, principal, lists, otherwise)
        created: list[str] = []
        answer = self.world.service.acquire(
            AcquireRequest(claim, scope, depth, timedelta(seconds=seconds)),
            is_mapped=lambda: mapped,
            create=lambda: created.append(resource),
        )
        oracle = self.oracle
        asked = Held(
            "", "", resource, scope is LockScope.EXCLUSIVE, depth is Depth.INFINITY, principal, oracle.now_s + seconds
        )
        if not oracle.condition_holds(lists, otherwise):
            self.expect(answer, Refusal.CONDITION_FAILED)
        elif oracle.conflicts(asked):
            self.expect(answer, Refusal.CONFLICT)
        elif not mapped and not oracle.permitted(parent(resource), lists, principal):
            self.expect(answer, Refusal.LOCKED)
        elif oracle.ahead(asked):
            self.expect_line(answer, None, len(oracle.ahead(asked)))
        else:
            self.expect_grant(answer, asked)
            assert bool(created) is not mapped
            return
        assert created == []

    def expect_grant(self, answer: object, asked: Held) -> None:
        assert isinstance(answer, Lock), answer
        assert answer.fencing_token > self.greatest_fencing_token
        assert answer.token not in self.tokens
        self.greatest_fencing_token = answer.fencing_token
        self.tokens.add(answer.token)
        asked.id, asked.token = answer.id, answer.token
        self.oracle.all.append(asked)

    def expect_line(self, answer: object, position: int | None, length: int) -> None:
        """Refused for those in line alone."""
        assert isinstance(answer, Refused), answer
        assert (answer.refusal, answer.contentions) == (Refusal.CONFLICT, ())
        assert answer.line is not None
        assert (answer.line.position, answer.line.length) == (position, length)

    # -- the line -------------------------------------------------------------------------------

    @rule(resource=RESOURCES, principal=PRINCIPALS, scope=SCOPES, depth=DEPTHS)
    def wait(self, resource: str, principal: str, scope: LockScope, depth: Depth) -> None:
        waits = Waits("", resource, scope is LockScope.EXCLUSIVE, depth is Depth.INFINITY, principal, 0, gone=True)
        self.attempt(waits, Stay.PARKED)

    @rule(which=st.integers(0, 9), stay=STAYS)
    def wait_again(self, which: int, stay: Stay) -> None:
        waiting = [waits for waits in self.oracle.line if not waits.gone]
        if waiting:
            self.attempt(waiting[which % len(waiting)], stay)

    def attempt(self, waits: Waits, stay: Stay) -> None:
        """A try by a request that has its place, or has none, or has lost it and is as one that comes now."""
        oracle = self.oracle
        scope = LockScope.EXCLUSIVE if waits.exclusive else LockScope.SHARED
        depth = Depth.INFINITY if waits.infinite else Depth.ZERO
        claim = Claim(path(waits.root), waits.principal)
        answer = self.world.service.acquire(
            AcquireRequest(claim, scope, depth, timedelta(seconds=30)),
            is_mapped=lambda: True,
            stay=stay,
            place_id=waits.id or None,
        )
        has_place = oracle.lives(waits)
        if not has_place:
            waits.gone = True
            waits = Waits("", waits.root, waits.exclusive, waits.infinite, waits.principal, oracle.now_s + PARKED_S)
        ahead = oracle.ahead(waits)
        if not oracle.conflicts(waits) and not ahead:
            asked = Held("", "", waits.root, waits.exclusive, waits.infinite, waits.principal, oracle.now_s + 30)
            self.expect_grant(answer, asked)
            assert asked.id == waits.id or not has_place
            waits.gone = True
            return
        if stay is Stay.PARKED:
            assert isinstance(answer, Queued), answer
            assert answer.waiter.id == waits.id or not has_place
            waits.id = answer.waiter.id
            if waits.lease_s < oracle.now_s + RENEWED_BELOW_S:
                waits.lease_s = oracle.now_s + PARKED_S
            assert self.in_seconds(answer.waiter.enqueued_at) <= oracle.now_s
        else:
            assert isinstance(answer, Refused), answer
            if not oracle.conflicts(waits):
                assert answer.contentions == ()
            if has_place or stay is Stay.KEPT:
                assert answer.line is not None
                assert answer.line.position == len(ahead) + 1
        if not has_place and stay is not Stay.LAST:
            if not waits.id:
                waits.id = self.newest_in_line()
            oracle.line.append(waits)
        if stay is Stay.KEPT:
            waits.lease_s = oracle.now_s + KEPT_S
        waits.gone = stay is Stay.LAST

    def newest_in_line(self) -> str:
        with self.world.store.read() as tx:
            line = [*tx.waiters_on(["/"]), *tx.waiters_below(path("/"))]
        return max(line, key=lambda waiter: waiter.seq).id

    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        waiting = [waits for waits in self.oracle.line if not waits.gone]
        if waiting:
            waits = waiting[which % len(waiting)]
            self.world.service.leave(waits.id, "gave up")
            waits.gone = True

    @rule()
    def renew(self) -> None:
        living = [waits for waits in self.oracle.line if self.oracle.lives(waits)]
        self.world.service.renew([waits.id for waits in living])
        for waits in living:
            waits.lease_s = self.oracle.now_s + PARKED_S

    def expect(self, answer: object, refusal: Refusal) -> None:
        assert isinstance(answer, Refused), answer
        assert answer.refusal is refusal
        live = {held.id for held in self.oracle.live()}
        assert {item.lock.id for item in answer.contentions} <= live
        assert bool(answer.contentions) is (refusal in {Refusal.CONFLICT, Refusal.LOCKED, Refusal.NOT_HOLDER})

    @rule(resource=RESOURCES, principal=PRINCIPALS, which=st.integers(0, 9), seconds=SECONDS)
    def refresh(self, resource: str, principal: str, which: int, seconds: int) -> None:
        if self.oracle.all:
            held = self.oracle.all[-1 - which % len(self.oracle.all)]
            self.refresh_one(held, resource, principal, seconds)

    @rule(which=st.integers(0, 9), seconds=SECONDS)
    def refresh_at_its_root(self, which: int, seconds: int) -> None:
        live = self.oracle.live()
        if live:
            held = live[which % len(live)]
            self.refresh_one(held, held.root, held.principal, seconds)

    def refresh_one(self, held: Held, resource: str, principal: str, seconds: int) -> None:
        claim = self.claim(resource, principal, [Said(held.token, resource)], otherwise=False)
        answer = self.world.service.refresh(claim, timedelta(seconds=seconds))
        expected = self.oracle.holder(resource, held.token, principal)
        if expected == "ok":
            assert isinstance(answer, Lock)
            assert answer.token == held.token
            held.expires_s = self.oracle.now_s + seconds
        else:
            self.expect(answer, Refusal(expected))

    @rule(resource=RESOURCES, principal=PRINCIPALS, which=st.integers(0, 9))
    def release(self, resource: str, principal: str, which: int) -> None:
        if self.oracle.all:
            self.release_one(self.oracle.all[-1 - which % len(self.oracle.all)], resource, principal)

    @rule(which=st.integers(0, 9))
    def release_at_its_root(self, which: int) -> None:
        live = self.oracle.live()
        if live:
            held = live[which % len(live)]
            self.release_one(held, held.root, held.principal)

    def release_one(self, held: Held, resource: str, principal: str) -> None:
        answer = self.world.service.release(path(resource), held.token, principal)
        expected = self.oracle.holder(resource, held.token, principal)
        if expected == "ok":
            assert isinstance(answer, Lock)
            held.ended = True
        else:
            self.expect(answer, Refusal(expected))

    @rule(resource=RESOURCES, principal=PRINCIPALS, reach=REACHES, mode=MODES, otherwise=st.booleans())
    def write(self, resource: str, principal: str, reach: Reach, mode: str, otherwise: bool) -> None:
        lists = self.lists(mode, principal, resource)
        self.change([(resource, reach)], (), principal, lists, otherwise, resource)

    @rule(resource=RESOURCES, principal=PRINCIPALS, mode=MODES)
    def delete(self, resource: str, principal: str, mode: str) -> None:
        lists = self.lists(mode, principal, resource)
        self.change([(resource, Reach.TREE)], (resource,), principal, lists, True, resource)

    @rule(which=st.integers(0, 9), reach=REACHES)
    def write_to_what_is_locked_as_its_holder(self, which: int, reach: Reach) -> None:
        live = self.oracle.live()
        if live:
            held = live[which % len(live)]
            lists = self.lists("own", held.principal, held.root)
            self.change([(held.root, reach)], (), held.principal, lists, False, held.root)

    @rule(which=st.integers(0, 9), scope=SCOPES, depth=DEPTHS, principal=PRINCIPALS)
    def acquire_beside(self, which: int, scope: LockScope, depth: Depth, principal: str) -> None:
        live = self.oracle.live()
        if live:
            root = live[which % len(live)].root
            self.acquire(root, principal, scope, depth, 40, mapped=True, mode="none", otherwise=False)

    @rule(source=RESOURCES, destination=RESOURCES, principal=PRINCIPALS, mode=MODES)
    def move(self, source: str, destination: str, principal: str, mode: str) -> None:
        effects = [(source, Reach.TREE), (destination, Reach.TREE)]
        self.change(effects, (source, destination), principal, self.lists(mode, principal, source), False, source)

    def change(
        self,
        effects: list[tuple[str, Reach]],
        destroys: tuple[str, ...],
        principal: str,
        lists: list[Said],
        otherwise: bool,
        resource: str,
    ) -> None:
        request = WriteRequest(
            self.claim(resource, principal, lists, otherwise),
            tuple(Effect(path(text), reach) for text, reach in effects),
            tuple(path(text) for text in destroys),
        )
        applied: list[WriteTransaction] = []
        checked = self.world.service.check_write(request)
        answer = self.world.service.write(request, applied.append)
        assert checked == answer
        if not self.oracle.condition_holds(lists, otherwise):
            self.expect(answer, Refusal.CONDITION_FAILED)
        elif not all(self.oracle.may_write(text, reach.value, lists, principal) for text, reach in effects):
            self.expect(answer, Refusal.LOCKED)
        else:
            assert answer is None
            for held in self.oracle.live():
                held.ended = any(above in destroys for above in path(held.root).lineage)
        assert bool(applied) is (answer is None)

    @rule(seconds=st.integers(1, 15))
    def pass_time(self, seconds: int) -> None:
        self.world.pass_time(seconds)
        self.oracle.now_s += seconds

    @rule(limit=st.integers(1, 3))
    def sweep(self, limit: int) -> None:
        expired = [lock for lock in self.world.locks() if lock.is_expired_at(self.world.clock.now())]
        with self.world.store.read() as tx:
            lapsed = tx.lapsed_waiters(1000)
        assert self.world.service.sweep(limit) == min(limit, len(expired)) + min(limit, len(lapsed))

    # -- what is always true --------------------------------------------------------------------

    @invariant()
    def no_two_incompatible_locks_meet(self) -> None:
        live = self.oracle.live()
        for index, one in enumerate(live):
            for other in live[:index]:
                assert not ((one.exclusive or other.exclusive) and self.oracle.meet(one, other))

    @invariant()
    def discovery_equals_the_oracle(self) -> None:
        for text in PATHS:
            found = self.world.service.discover(path(text))
            assert {(lock.id, lock.principal, self.oracle_seconds(lock)) for lock in found} == {
                (held.id, held.principal, held.expires_s) for held in self.oracle.covering(text)
            }
        for text in PATHS:
            above, direct = self.world.service.discover_members(path(text))
            live = self.oracle.live()
            assert {lock.id for lock in above} == {
                held.id for held in live if held.infinite and self.oracle.covers(held, text)
            }
            assert {lock.id for locks in direct.values() for lock in locks} == {
                held.id for held in live if held.root != "/" and parent(held.root) == text
            }

    @invariant()
    def the_feed_tells_the_same_story(self) -> None:
        for event in self.world.events(self.seq):
            assert event.seq > self.seq
            self.seq = event.seq
            if event.kind is EventKind.QUEUED:
                assert event.lock_id not in self.told_line
                self.told_line[event.lock_id] = event.root.text
            elif event.kind is EventKind.LEFT:
                assert self.told_line.pop(event.lock_id) == event.root.text
            elif event.kind is EventKind.GRANTED:
                assert event.lock_id not in self.told
                self.told[event.lock_id] = event.root.text
                self.told_line.pop(event.lock_id, None)
            else:
                assert self.told.pop(event.lock_id) == event.root.text
        kept = {lock.id: lock.root.text for lock in self.world.locks()}
        assert kept == self.told
        assert {held.id for held in self.oracle.live()} <= set(kept)
        assert set(self.world.line()) == set(self.told_line)
        assert {waits.id for waits in self.oracle.line if self.oracle.lives(waits)} <= set(self.told_line)


class SqliteWalk(Walk):
    """The same walk, over the SQLite store."""

    kind = "sqlite"


@pytest.mark.timeout(400)  # some seconds, unless a failure is being made small
@pytest.mark.parametrize(("machine", "walks", "steps"), [(Walk, 200, 40), (SqliteWalk, 40, 40)])
def test_the_service_agrees_with_the_oracle_after_every_step(machine: type[Walk], walks: int, steps: int):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=walks,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
