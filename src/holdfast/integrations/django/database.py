"""Locks in Django's own database, by Django's own ORM: a LockBackend over the models.

Owns: what is done with the rows inside one transaction, by the database's own clock. Must not know: requests, users, the admin. The
rules are those of `core.decisions`.

Theory of operation: whoever grants a lock changes the counter's row first. On PostgreSQL and MySQL that locks the row, on SQLite the
database, until the end of the transaction: grants of all processes are serial, nothing comes between the look at what is held and
the grant, and the fencing token is the counter's new value. A lock's own row is locked by whoever writes under it (`holding`), so
it can neither be broken nor given away between the check and the commit of what it protects (`ending`). Whoever writes what no such lock
covers takes the counter's row instead, and lets nobody be granted anything before its commit.

Whoever waits stands in line (`places`), and looks and tries as `databases.lockwaiting` says. A request that is in a transaction already, as
with ATOMIC_REQUESTS, takes no place: nobody would see it before that transaction's end. It looks again, and passes nobody.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from django.db import connections, transaction
from django.db.models import F, Func, Max, Q

from holdfast.core.conditions import IfHeader, Submission
from holdfast.core.decisions import (
    Effect,
    Reach,
    Refused,
    Standing,
    decide_acquire,
    decide_write,
    protected_resources,
)
from holdfast.core.model import Break, Depth, EventKind, LockScope, Waiter
from holdfast.core.model import Lock as HeldLock
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.databases.lockwaiting import Look, Sought, Step, counted, following, look, passing, told, trying, waiting
from holdfast.databases.rowvalues import LONGEST_PATH, instant, milliseconds
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import ended_lock, ended_sentence, granted_lock, shown_lock
from holdfast.finding import Found
from holdfast.integrations.backends import Wanted
from holdfast.integrations.django.ending import BusyError, covers, end, hold_rows, seize, wait_for, write_down
from holdfast.integrations.django.models import Lock, LockCounter
from holdfast.integrations.django.places import Places
from holdfast.integrations.django.rows import HeldState, NowMs, event_of, found_of, lock_of
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import LockedAnswer

__all__ = ["DjangoBackend"]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_OFFSET: Final = timedelta()
_BROKEN: Final = (EventKind.BROKEN.value, EventKind.BREAKING.value)
_OTHERS_ID: Final = "This id is that of another lock; choose another."


class _TurnedDownError(Exception):
    """Ends a transaction in which nothing was changed; the request knows why."""


class _Asked:
    """One request for a lock, over all its transactions, and what has come of it."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.sought = Sought(wanted.resource, wanted.scope, wanted.depth)
        self.id = wanted.lock_id or f"l-{uuid.uuid4().hex}"
        self.token = f"urn:uuid:{uuid.uuid4()}"
        self.seq: int | None = None
        self.granted: Found | None = None
        self.refused: tuple[Refused, int] | None = None


class DjangoBackend:
    """A LockBackend in the database `using`, an alias in DATABASES; satisfies `backends.LockBackend`."""

    def __init__(
        self, using: str = "default", *, timeouts: TimeoutPolicy | None = None, now: Func | None = None
    ) -> None:
        """Ask nothing of the database yet. `now` stands in for the database's clock, in tests."""
        self.using = using
        self._clock = now or NowMs()
        self._places = Places(using, self._clock)
        self._timeouts = timeouts or TimeoutPolicy()
        self._holding: WeakKeyDictionary[Any, list[HeldLock]] = WeakKeyDictionary()

    # -- LockBackend --------------------------------------------------------------------------------

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check. The first one in a block of `holding` settles what that holds."""
        found = self._judged(effects, tokens, principal, condition)
        held = self._holding.pop(connections[self.using], None) if found is None else None
        if held is None or covers(held, effects):
            return found
        self._take_turn(mints=False)
        return self._judged(effects, tokens, principal, condition)

    def _judged(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None
    ) -> LockedAnswer | None:
        now = self._now()
        held: dict[str, HeldLock] = {}
        trees = {effect.resource for effect in effects if effect.reach is Reach.TREE}
        for path in protected_resources(effects):
            held.update((lock.id, lock) for lock in self._held(path, now, below=path in trees))
        submitted = [Submission(token, one.resource, one.reach is Reach.TREE) for token in tokens for one in effects]
        if condition is not None:
            reaches_down = effects[0].reach is Reach.TREE
            submitted.extend(condition.submissions(reaches_down=reaches_down))
            if not condition.holds(self._state(condition, now), reaches_down=reaches_down):
                raise RefusalError(412, "The If header is false: the locks are not as the request assumes.")
        refused = decide_write(effects, list(held.values()), submitted, principal)
        if refused is None:
            return None
        lengths = self._lengths([one.lock for one in refused.contentions], now)
        line = Standing(lengths=lengths) if lengths else None
        refused = msgspec.structs.replace(refused, broken=self._broken(tokens, principal), line=line)
        return _answer(refused, now, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """As LockBackend.acquire."""
        if len(wanted.resource.text) > LONGEST_PATH:
            msg = f"the path is longer than {LONGEST_PATH} characters"
            raise InvalidPathError(msg)
        if wanted.lock_id is not None and not _ID.fullmatch(wanted.lock_id):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "A lock's id has letters, digits, - and _ alone, 64 at most.")
        asked = _Asked(wanted)
        wait = 0.0 if wanted.break_first else wanted.wait
        steps = trying(wait) if connections[self.using].in_atomic_block else waiting(wait)
        try:
            step = next(steps, None)
            while step is not None:
                step = following(steps, self._take(asked, step))
        except BaseException as error:
            if asked.seq is not None or not isinstance(error, Exception):
                with suppress(Exception):  # what has ended the wait is what the caller is to learn
                    self._leave(asked)
            raise
        if asked.granted is not None:
            return granted_lock(asked.granted, _NO_OFFSET)
        assert asked.refused is not None
        return _answer(*asked.refused, wanted.resource, Condition.NO_CONFLICTING_LOCK)

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        row, now = self._mine(lock_id, token, principal, "refresh")
        ends_at = now + self._timeouts.grant(_span(ttl)) // timedelta(milliseconds=1)
        if row.ended_at_ms is not None:  # a break is to come, and no refresh puts it off
            ends_at = min(ends_at, row.ended_at_ms)
        if not self._live(now).filter(id=row.id).update(refreshed_at_ms=now, expires_at_ms=ends_at):
            raise self._gone(lock_id)
        row.refreshed_at_ms, row.expires_at_ms = now, ends_at
        return granted_lock(found_of(row, now), _NO_OFFSET)

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        try:
            row, now = self._mine(lock_id, token, principal, "release")
        except RefusalError as error:
            if error.ended is not None and error.ended.how is EventKind.RELEASED:
                return
            raise
        if not end(self._live(now).filter(id=row.id), now, EventKind.RELEASED, principal, ""):
            raise self._gone(lock_id)

    def break_(
        self, lock_id: str, principal: str, reason: str, *, after: float = 0.0, may_break: bool = False
    ) -> ShownLock | EndedLock:
        """As LockBackend.break_."""
        row, now = self._known(lock_id)
        if not may_break and row.holder != principal:
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to break.")
        at = now + max(0, round(after * 1000))
        if row.expires_at_ms is not None and at >= row.expires_at_ms > now:
            return shown_lock(found_of(row, now), instant(now), _NO_OFFSET)  # it ends by itself before
        how = EventKind.BREAKING if at > now else EventKind.BROKEN
        if not end(self._live(now).filter(id=row.id), at, how, principal, reason):
            raise self._gone(lock_id)
        told = self.describe(lock_id)
        assert told is not None
        return told

    def take_over(
        self, lock_id: str, principal: str, *, ttl: float | None = None, owner: str | None = None, client: str = ""
    ) -> GrantedLock:
        """As LockBackend.take_over."""
        row, now = self._known(lock_id)
        if row.holder != principal:
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to take over.")
        if event_of(row, now) is not None:
            raise self._gone(lock_id)
        wanted = Wanted(
            resource=ResourcePath(row.root),
            principal=principal,
            scope=LockScope(row.scope),
            depth=Depth(row.depth),
            ttl=ttl,
            owner=row.owner if owner is None else owner,
            reason=row.reason,
            client=client,
        )
        with transaction.atomic(using=self.using):
            hold_rows(self.using, [row.token])  # first: whoever has the turn waits for no row
            fencing_token, now = self._take_turn()
            if not end(self._live(now).filter(id=row.id), now, EventKind.BROKEN, principal, "taken over"):
                raise self._gone(lock_id)
            return granted_lock(self._put(_Asked(wanted), fencing_token, now), _NO_OFFSET)

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        row, now = self._read(Q(id=lock_id))
        if row is None or row.id != lock_id:
            return None
        event = event_of(row, now)
        return ended_lock(event, _NO_OFFSET) if event else self._shown([row], now)[0]

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """As LockBackend.find."""
        now = self._now()
        return self._shown(self._covering(covering, now), now)

    def close(self) -> None:
        """Nothing: the connections are Django's."""

    # -- writing under a lock -----------------------------------------------------------------------

    @contextmanager
    def holding(self, tokens: Sequence[str]) -> Generator[None]:
        """A transaction for a change that its first `check` allows: from there to its commit no lock comes or goes that would forbid it.

        Where locks of these tokens cover all that is changed, they can neither be broken nor given away before the commit, nor end by
        themselves. Otherwise nobody is granted any lock before that: such changes, and grants, wait for each other.
        """
        connection = connections[self.using]
        with transaction.atomic(using=self.using):
            rows = hold_rows(self.using, tokens) if tokens or connection.vendor == "sqlite" else []
            if connection.vendor != "sqlite":  # whose write lock keeps everybody from everything
                now = self._now()
                self._holding[connection] = [lock_of(row) for row in rows if event_of(row, now) is None]
            try:
                yield
            finally:
                self._holding.pop(connection, None)

    # -- inside a transaction -----------------------------------------------------------------------

    def _take(self, asked: _Asked, step: Step | float) -> Look:
        if not isinstance(step, Step):
            time.sleep(step)
            return Look.NEAR
        if step is Step.LOOK:
            return self._look(asked)
        try:
            with transaction.atomic(using=self.using):
                if step is not Step.RENEW:
                    return self._try(asked, step)
                assert asked.seq is not None
                return Look.NEAR if self._places.renew(asked.id, asked.seq) else Look.TURN
        except _TurnedDownError:
            return Look.REFUSED
        except BusyError as busy:
            wait_for(self.using, busy.lock_id)
            return self._take(asked, step)

    def _look(self, asked: _Asked) -> Look:
        sought = asked.sought
        assert asked.seq is not None
        found = self._places.before(asked.id, sought.root, sought.depth, asked.seq)
        return look(sought, asked.id, found, lambda now: self._met(sought, milliseconds(now)))

    def _try(self, asked: _Asked, step: Step) -> Look:
        fencing_token, now = self._take_turn()
        wanted, sought = asked.wanted, asked.sought
        if wanted.lock_id is not None:
            known = Lock.objects.using(self.using).filter(id=wanted.lock_id).first()
            if known is not None:
                asked.granted = self._repeated(known, wanted, now)
                return Look.GRANTED
        place = self._place(asked, now)
        write_down(self.using, wanted.resource, now)
        refused = decide_acquire(sought.root, sought.scope, sought.depth, self._met(sought, now))
        if wanted.break_first:  # it passes the line
            self._break_first(refused, wanted, now)
            refused = None
        elif refused is None:
            refused = passing(sought, place, self._places.reading(now))
        if refused is not None:
            return self._settle(asked, refused, place, step, now)
        if place is not None:
            self._places.remove(place.id, place.seq)
        asked.granted = self._put(asked, fencing_token, now)
        return Look.GRANTED

    def _break_first(self, refused: Refused | None, wanted: Wanted, now: int) -> None:
        in_the_way = [] if refused is None else [one.lock for one in refused.contentions]
        if not (wanted.may_break or all(lock.principal == wanted.principal for lock in in_the_way)):
            raise RefusalError(403, "The lock was created by somebody else, so it is not yours to break.")
        ids = [lock.id for lock in in_the_way]
        seize(self.using, ids, now, live=True)
        end(
            Lock.objects.using(self.using).filter(id__in=ids),
            now,
            EventKind.BROKEN,
            wanted.principal,
            wanted.break_first,
        )

    def _settle(self, asked: _Asked, refused: Refused, place: Waiter | None, step: Step, now: int) -> Look:
        """What becomes of a request that was refused, and of its place."""
        if step is not Step.TRY:
            if not self._places.is_empty():
                refused = told(asked.sought, refused, place, self._places.reading(now))
            asked.refused = refused, now
        if step is Step.ONCE or (step is Step.LAST and place is None):
            raise _TurnedDownError
        counters = LockCounter.objects.using(self.using)
        counters.filter(id=1).update(last_fencing_token=F("last_fencing_token") - 1)  # it is not used
        if step is Step.LAST:
            assert place is not None
            self._places.remove(place.id, place.seq)
            return Look.REFUSED
        if place is None:
            place = self._places.enter(asked.id, asked.sought, asked.wanted.principal, asked.wanted.owner, now)
        else:
            self._places.renew(place.id, place.seq, even_lapsed=True)
        asked.seq = place.seq
        return Look.NEAR

    def _place(self, asked: _Asked, now: int) -> Waiter | None:
        """Its living place, which an earlier request with the same id may have taken; one that has lapsed is removed."""
        if asked.seq is None and asked.wanted.lock_id is None:
            return None
        place = self._places.find(asked.id)
        if place is None:
            return None
        if place.has_lapsed_at(instant(now)):
            self._places.remove(place.id, place.seq)
            return None
        is_same = Sought(place.root, place.scope, place.depth) == asked.sought
        if place.principal != asked.wanted.principal or not is_same:
            raise RefusalError(HTTPStatus.CONFLICT, _OTHERS_ID)
        return place

    def _leave(self, asked: _Asked) -> None:
        """Give up the place, and the lock if it was granted unheard."""
        with transaction.atomic(using=self.using):
            _, now = self._take_turn()
            if asked.seq is not None:
                self._places.remove(asked.id, asked.seq)
            rows = self._live(now).filter(token=asked.token)
            end(rows, now, EventKind.RELEASED, asked.wanted.principal, "")

    def _repeated(self, known: Lock, wanted: Wanted, now: int) -> Found:
        if known.holder != wanted.principal or known.root != wanted.resource.text:
            raise RefusalError(HTTPStatus.CONFLICT, _OTHERS_ID)
        event = event_of(known, now)
        if event is not None:
            said = f"This id has been used. {ended_sentence(event, instant(now), _NO_OFFSET)} Choose another for a new lock."
            raise RefusalError(HTTPStatus.CONFLICT, said, ended=ended_lock(event, _NO_OFFSET))
        return found_of(known, now)

    def _put(self, asked: _Asked, fencing_token: int, now: int) -> Found:
        wanted = asked.wanted
        row = Lock(
            id=asked.id,
            token=asked.token,
            root=wanted.resource.text,
            scope=wanted.scope.value,
            depth=wanted.depth.value,
            holder=wanted.principal,
            owner=wanted.owner[:1000],
            reason=wanted.reason[:1000],
            client=wanted.client[:255],
            fencing_token=fencing_token,
            created_at_ms=now,
            refreshed_at_ms=now,
            expires_at_ms=now + self._timeouts.grant(_span(wanted.ttl)) // timedelta(milliseconds=1),
        )
        row.save(using=self.using, force_insert=True)
        return found_of(row, now)

    def _take_turn(self, *, mints: bool = True) -> tuple[int, int]:
        """The last fencing token, a new one if it `mints`, and the time in milliseconds; nobody else is granted a lock before this transaction has ended."""
        counters = LockCounter.objects.using(self.using)
        while not counters.filter(id=1).update(last_fencing_token=F("last_fencing_token") + int(mints)):
            # The first one of all, or somebody has emptied the table: never below what has been given out.
            highest = Lock.objects.using(self.using).aggregate(highest=Max("fencing_token"))["highest"] or 0
            counters.bulk_create([LockCounter(id=1, last_fencing_token=highest)], ignore_conflicts=True)
        fencing_token, now = counters.annotate(now=self._clock).values_list("last_fencing_token", "now").get(id=1)
        return int(fencing_token), int(now)

    # -- reading ------------------------------------------------------------------------------------

    def _now(self) -> int:
        """The database's time in milliseconds."""
        with connections[self.using].cursor() as cursor:
            compiler = Lock.objects.using(self.using).query.get_compiler(self.using)
            sql, values = compiler.compile(self._clock)
            cursor.execute(f"SELECT {sql}", values)
            [now] = cursor.fetchone()
        return int(now)

    def _live(self, now: int) -> Any:
        return Lock.objects.using(self.using).filter(
            Q(ended_at_ms__isnull=True) | Q(ended_at_ms__gt=now),
            Q(expires_at_ms__isnull=True) | Q(expires_at_ms__gt=now),
        )

    def _held(self, root: ResourcePath, now: int, *, below: bool) -> list[HeldLock]:
        """The locks that cover `root`, and with `below` those beneath it; from the oldest."""
        place = Q(root__in=root.lineage)
        if below:
            place |= Q(root__startswith=root.prefix)
        found = [lock_of(row) for row in self._live(now).filter(place).order_by("fencing_token")]
        # Again by the text itself: to some databases two paths that differ in case are one.
        return [lock for lock in found if lock.covers(root) or (below and lock.root.is_below(root))]

    def _met(self, sought: Sought, now: int) -> list[HeldLock]:
        """The locks that this one would meet."""
        return self._held(sought.root, now, below=sought.depth is Depth.INFINITY)

    def _lengths(self, locks: Sequence[HeldLock], now: int) -> dict[str, int]:
        """How many wait for each of these, by lock id."""
        return {} if not locks or self._places.is_empty() else counted(locks, self._places.reading(now))

    def _shown(self, rows: Sequence[Lock], now: int) -> list[ShownLock]:
        lengths = self._lengths([lock_of(row) for row in rows], now)
        shown = [found_of(row, now, lengths.get(row.id, 0)) for row in rows]
        return [shown_lock(found, instant(now), _NO_OFFSET) for found in shown]

    def _covering(self, root: ResourcePath, now: int) -> list[Lock]:
        rows = self._live(now).filter(root__in=root.lineage).order_by("root", "fencing_token")
        return [row for row in rows if lock_of(row).covers(root)]

    def _read(self, which: Q) -> tuple[Lock | None, int]:
        row = Lock.objects.using(self.using).filter(which).annotate(now=self._clock).first()
        return (None, 0) if row is None else (row, int(row.now))

    def _known(self, lock_id: str) -> tuple[Lock, int]:
        row, now = self._read(Q(id=lock_id))
        if row is None or row.id != lock_id:
            raise RefusalError(404, "No lock with this id is known here.")
        return row, now

    def _mine(self, lock_id: str, token: str, principal: str, verb: str) -> tuple[Lock, int]:
        """The lock, if it is held, the principal's, and the token its own. Raises RefusalError 404, 403, 410."""
        row, now = self._known(lock_id)
        if row.holder != principal:
            raise RefusalError(403, f"The lock was created by somebody else, so it is not yours to {verb}.")
        if row.token != token:
            raise RefusalError(403, f"To {verb} this lock takes its token; the one that was given is another.")
        if event_of(row, now) is not None:
            raise self._gone(lock_id)
        return row, now

    def _gone(self, lock_id: str) -> RefusalError:
        row, now = self._known(lock_id)
        event = event_of(row, now)
        if event is None:
            return RefusalError(HTTPStatus.CONFLICT, "The lock was changed by somebody else just now.")
        said = ended_sentence(event, instant(now), _NO_OFFSET)
        return RefusalError(HTTPStatus.GONE, said, ended=ended_lock(event, _NO_OFFSET))

    def _state(self, condition: IfHeader, now: int) -> HeldState:
        tokens = [item.token for item in condition.submissions()]
        negated = [one.token for item in condition.lists for one in item.conditions if hasattr(one, "token")]
        rows = self._live(now).filter(token__in={*tokens, *negated})
        return HeldState([lock_of(row) for row in rows])

    def _broken(self, tokens: Sequence[str], principal: str) -> Break | None:
        """How the lock ended whose token the principal still holds out, where somebody broke it."""
        if not tokens:
            return None
        row = Lock.objects.using(self.using).filter(token__in=tokens, holder=principal, ended_how__in=_BROKEN).first()
        if row is None or row.ended_at_ms is None:
            return None
        return Break(row.id, instant(row.ended_at_ms), row.ended_by, row.ended_reason)


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=min(seconds, 10**9))


def _answer(refused: Refused, now: int, resource: ResourcePath, condition: Condition) -> LockedAnswer:
    return LockedAnswer.of(refused, resource, condition, now=instant(now), wall_offset=_NO_OFFSET)
