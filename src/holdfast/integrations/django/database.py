"""Locks in Django's own database, by Django's own ORM: a LockBackend over the models.

Owns: what is done with the rows inside one transaction, by the database's own clock. Must not know: requests, users, the admin. The
rules are those of `core.decisions`.

Theory of operation: whoever grants a lock changes the counter's row first. On PostgreSQL and MySQL that locks the row, on SQLite the
database, until the end of the transaction: grants of all processes are serial, nothing comes between the look at what is held and
the grant, and the fencing token is the counter's new value. A lock's own row is locked by whoever writes under it (`holding`), so
it can neither be broken nor given away between the check and the commit of what it protects.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from django.db import connections, transaction
from django.db.models import BigIntegerField, F, Func, Max, Q

from holdfast.core.conditions import IfHeader, Submission
from holdfast.core.decisions import Effect, Reach, Refused, decide_acquire, decide_write, protected_resources
from holdfast.core.model import Break, Depth, Event, EventKind, Face, LockScope
from holdfast.core.model import Lock as HeldLock
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import ended_lock, ended_sentence, granted_lock, shown_lock
from holdfast.finding import Found
from holdfast.integrations.backends import Wanted
from holdfast.integrations.django.models import LONGEST_PATH, Lock, LockCounter, instant
from holdfast.wire.davxml_write import Condition
from holdfast.wire.locked import LockedAnswer

__all__ = ["DjangoBackend", "NowMs", "held_rows"]

_KEPT_MS: Final = 24 * 60 * 60 * 1000
_LOOK_AGAIN_S: Final = 0.2
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_OFFSET: Final = timedelta()


class NowMs(Func):
    """Milliseconds since 1970 by the database's clock at this statement, not at the beginning of the transaction."""

    template = ""  # a database that is none of these three says so: it has no default
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """`julianday` is in UTC."""
        said = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
        return self.as_sql(compiler, connection, template=said, **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """`now()` would stand still during a transaction."""
        said = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        return self.as_sql(compiler, connection, template=said, **more)

    def as_mysql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """UNIX_TIMESTAMP would read local time."""
        said = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"
        return self.as_sql(compiler, connection, template=said, **more)


class _RefusedError(Exception):
    """Carries a refusal out of the transaction, which is rolled back by it."""

    def __init__(self, refused: Refused, now: int) -> None:
        super().__init__()
        self.refused = refused
        self.now = now


class _State:
    """What an If header may ask: the live locks by their tokens. Nothing is known of entity tags here."""

    def __init__(self, held: Iterable[HeldLock]) -> None:
        self._by_token = {lock.token: lock for lock in held}

    def matching_lock(self, token: str) -> HeldLock | None:
        return self._by_token.get(token)

    def etag_of(self, resource: ResourcePath) -> str | None:
        return None


class DjangoBackend:
    """A LockBackend in the database `using`, an alias in DATABASES; satisfies `backends.LockBackend`."""

    def __init__(
        self, using: str = "default", *, timeouts: TimeoutPolicy | None = None, now: Func | None = None
    ) -> None:
        """Ask nothing of the database yet. `now` stands in for the database's clock, in tests."""
        self.using = using
        self._clock = now or NowMs()
        self._timeouts = timeouts or TimeoutPolicy()

    # -- LockBackend --------------------------------------------------------------------------------

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> LockedAnswer | None:
        """As LockBackend.check."""
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
        refused = msgspec.structs.replace(refused, broken=self._broken(tokens, principal))
        return _answer(refused, now, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)

    def acquire(self, wanted: Wanted) -> GrantedLock | LockedAnswer:
        """As LockBackend.acquire. Whoever waits looks again five times a second; there is no line."""
        if len(wanted.resource.text) > LONGEST_PATH:
            msg = f"the path is longer than {LONGEST_PATH} characters"
            raise InvalidPathError(msg)
        if wanted.lock_id is not None and not _ID.fullmatch(wanted.lock_id):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "A lock's id has letters, digits, - and _ alone, 64 at most.")
        until = time.monotonic() + wanted.wait
        while True:
            try:
                with transaction.atomic(using=self.using):
                    return granted_lock(self._grant(wanted), _NO_OFFSET)
            except _RefusedError as error:
                left = until - time.monotonic()
                if left <= 0:
                    return _answer(error.refused, error.now, wanted.resource, Condition.NO_CONFLICTING_LOCK)
            time.sleep(min(left, _LOOK_AGAIN_S))

    def refresh(self, lock_id: str, token: str, principal: str, ttl: float | None = None) -> GrantedLock:
        """As LockBackend.refresh."""
        row, now = self._mine(lock_id, token, principal, "refresh")
        ends_at = now + self._timeouts.grant(_span(ttl)) // timedelta(milliseconds=1)
        if row.ended_at_ms is not None:  # a break is to come, and no refresh puts it off
            ends_at = min(ends_at, row.ended_at_ms)
        if not self._live(now).filter(id=row.id).update(refreshed_at_ms=now, expires_at_ms=ends_at):
            raise self._gone(lock_id)
        row.refreshed_at_ms, row.expires_at_ms = now, ends_at
        return granted_lock(_found(row, now), _NO_OFFSET)

    def release(self, lock_id: str, token: str, principal: str) -> None:
        """As LockBackend.release."""
        try:
            row, now = self._mine(lock_id, token, principal, "release")
        except RefusalError as error:
            if error.ended is not None and error.ended.how is EventKind.RELEASED:
                return
            raise
        if not self._end(self._live(now).filter(id=row.id), now, EventKind.RELEASED, principal, ""):
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
            return shown_lock(_found(row, now), instant(now), _NO_OFFSET)  # it ends by itself before
        if not self._end(self._live(now).filter(id=row.id), at, EventKind.BROKEN, principal, reason):
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
        if _event(row, now) is not None:
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
            fencing_token, now = self._take_turn()
            if not self._end(self._live(now).filter(id=row.id), now, EventKind.BROKEN, principal, "taken over"):
                raise self._gone(lock_id)
            return granted_lock(self._put(wanted, fencing_token, now), _NO_OFFSET)

    def describe(self, lock_id: str) -> ShownLock | EndedLock | None:
        """As LockBackend.describe."""
        row, now = self._read(Q(id=lock_id))
        if row is None or row.id != lock_id:
            return None
        event = _event(row, now)
        return ended_lock(event, _NO_OFFSET) if event else shown_lock(_found(row, now), instant(now), _NO_OFFSET)

    def find(self, covering: ResourcePath) -> list[ShownLock]:
        """As LockBackend.find."""
        now = self._now()
        rows = self._covering(covering, now)
        return [shown_lock(_found(row, now), instant(now), _NO_OFFSET) for row in rows]

    def close(self) -> None:
        """Nothing: the connections are Django's."""

    # -- writing under a lock -----------------------------------------------------------------------

    @contextmanager
    def holding(self, tokens: Sequence[str]) -> Generator[None]:
        """A transaction in which no lock comes or goes that matters to whoever holds `tokens` out, from here to its commit.

        The locks of these tokens can neither be broken nor given away; where there are none, no lock is granted at all.
        """
        with transaction.atomic(using=self.using):
            if not tokens:
                self._take_turn()
            elif connections[self.using].features.has_select_for_update:
                list(Lock.objects.using(self.using).select_for_update().filter(token__in=tokens))
            else:  # SQLite: the write lock of the whole database is taken instead
                Lock.objects.using(self.using).filter(token__in=tokens).update(client=F("client"))
            yield

    # -- inside a transaction -----------------------------------------------------------------------

    def _grant(self, wanted: Wanted) -> Found:
        fencing_token, now = self._take_turn()
        if wanted.lock_id is not None:
            known = Lock.objects.using(self.using).filter(id=wanted.lock_id).first()
            if known is not None:
                return self._repeated(known, wanted, now)
        self._tidy(wanted.resource, now)
        held = self._held(wanted.resource, now, below=wanted.depth is Depth.INFINITY)
        refused = decide_acquire(wanted.resource, wanted.scope, wanted.depth, held)
        if refused is not None:
            in_the_way = [one.lock for one in refused.contentions]
            may_break = wanted.may_break or all(lock.principal == wanted.principal for lock in in_the_way)
            if not wanted.break_first:
                raise _RefusedError(refused, now)
            if not may_break:
                raise RefusalError(403, "The lock was created by somebody else, so it is not yours to break.")
            ids = [lock.id for lock in in_the_way]
            rows = Lock.objects.using(self.using).filter(id__in=ids)
            self._end(rows, now, EventKind.BROKEN, wanted.principal, wanted.break_first)
        return self._put(wanted, fencing_token, now)

    def _repeated(self, known: Lock, wanted: Wanted, now: int) -> Found:
        if known.holder != wanted.principal or known.root != wanted.resource.text:
            raise RefusalError(HTTPStatus.CONFLICT, "This id is that of another lock; choose another.")
        event = _event(known, now)
        if event is not None:
            said = f"This id has been used. {ended_sentence(event, instant(now), _NO_OFFSET)} Choose another for a new lock."
            raise RefusalError(HTTPStatus.CONFLICT, said, ended=ended_lock(event, _NO_OFFSET))
        return _found(known, now)

    def _put(self, wanted: Wanted, fencing_token: int, now: int) -> Found:
        row = Lock(
            id=wanted.lock_id or f"l-{uuid.uuid4().hex}",
            token=f"urn:uuid:{uuid.uuid4()}",
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
        return _found(row, now)

    def _take_turn(self) -> tuple[int, int]:
        """The next fencing token, and the time in milliseconds; nobody else is granted a lock before this transaction has ended."""
        counters = LockCounter.objects.using(self.using)
        while not counters.filter(id=1).update(last_fencing_token=F("last_fencing_token") + 1):
            # The first one of all, or somebody has emptied the table: never below what has been given out.
            highest = Lock.objects.using(self.using).aggregate(highest=Max("fencing_token"))["highest"] or 0
            counters.bulk_create([LockCounter(id=1, last_fencing_token=highest)], ignore_conflicts=True)
        fencing_token, now = counters.annotate(now=self._clock).values_list("last_fencing_token", "now").get(id=1)
        return int(fencing_token), int(now)

    def _tidy(self, root: ResourcePath, now: int) -> None:
        """Remove what has ended long enough ago. A row under which a transaction is still at work is waited for."""
        near = Q(root__in=root.lineage) | Q(root__startswith=root.prefix)
        long_ago = now - _KEPT_MS
        old = Q(ended_at_ms__lte=long_ago) | Q(ended_at_ms__isnull=True, expires_at_ms__lte=long_ago)
        Lock.objects.using(self.using).filter(near & old).delete()
        expired = Lock.objects.using(self.using).filter(near, ended_at_ms__isnull=True, expires_at_ms__lte=now)
        expired.update(ended_at_ms=F("expires_at_ms"), ended_how=EventKind.EXPIRED.value)

    def _end(self, rows: Any, at: int, how: EventKind, by: str, reason: str) -> bool:
        values = {"ended_at_ms": at, "ended_how": how.value, "ended_by": by[:255], "ended_reason": reason[:1000]}
        return bool(rows.update(**values))

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
        found = [_lock_of(row) for row in self._live(now).filter(place).order_by("fencing_token")]
        # Again by the text itself: to some databases two paths that differ in case are one.
        return [lock for lock in found if lock.covers(root) or (below and lock.root.is_below(root))]

    def _covering(self, root: ResourcePath, now: int) -> list[Lock]:
        rows = self._live(now).filter(root__in=root.lineage).order_by("root", "fencing_token")
        return [row for row in rows if _lock_of(row).covers(root)]

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
        if _event(row, now) is not None:
            raise self._gone(lock_id)
        return row, now

    def _gone(self, lock_id: str) -> RefusalError:
        row, now = self._known(lock_id)
        event = _event(row, now)
        if event is None:
            return RefusalError(HTTPStatus.CONFLICT, "The lock was changed by somebody else just now.")
        said = ended_sentence(event, instant(now), _NO_OFFSET)
        return RefusalError(HTTPStatus.GONE, said, ended=ended_lock(event, _NO_OFFSET))

    def _state(self, condition: IfHeader, now: int) -> _State:
        tokens = [item.token for item in condition.submissions()]
        negated = [one.token for item in condition.lists for one in item.conditions if hasattr(one, "token")]
        rows = self._live(now).filter(token__in={*tokens, *negated})
        return _State([_lock_of(row) for row in rows])

    def _broken(self, tokens: Sequence[str], principal: str) -> Break | None:
        """How the lock ended whose token the principal still holds out, where somebody broke it."""
        if not tokens:
            return None
        row = (
            Lock.objects.using(self.using)
            .filter(token__in=tokens, holder=principal, ended_how=EventKind.BROKEN.value)
            .first()
        )
        if row is None or row.ended_at_ms is None:
            return None
        return Break(row.id, instant(row.ended_at_ms), row.ended_by, row.ended_reason)


def held_rows(using: str) -> Any:
    """The rows of all locks that are held, as a query."""
    held = Q(ended_at_ms__isnull=True) | Q(ended_at_ms__gt=NowMs())
    return Lock.objects.using(using).filter(held, Q(expires_at_ms__isnull=True) | Q(expires_at_ms__gt=NowMs()))


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=min(seconds, 10**9))


def _lock_of(row: Lock) -> HeldLock:
    return HeldLock(
        id=row.id,
        token=row.token,
        root=ResourcePath(row.root),
        scope=LockScope(row.scope),
        depth=Depth(row.depth),
        principal=row.holder,
        owner=row.owner,
        owner_xml=None,
        reason=row.reason,
        client=row.client,
        face=Face.API,
        fencing_token=row.fencing_token,
        created_at=row.since,
        refreshed_at=row.refreshed_at,
        expires_at=row.expires_at,
    )


def _found(row: Lock, now: int) -> Found:
    pending = None
    if row.ended_at_ms is not None and row.ended_at_ms > now:
        pending = Break(row.id, instant(row.ended_at_ms), row.ended_by, row.ended_reason)
    return Found(_lock_of(row), pending)


def _event(row: Lock, now: int) -> Event | None:
    """How the lock has ended; None while it is held."""
    if row.ended_at_ms is not None and row.ended_at_ms <= now:
        return Event.about(
            _lock_of(row),
            EventKind(row.ended_how),
            instant(row.ended_at_ms),
            actor=row.ended_by,
            reason=row.ended_reason,
        )
    if row.expires_at_ms is not None and row.expires_at_ms <= now:
        return Event.about(_lock_of(row), EventKind.EXPIRED, instant(row.expires_at_ms), actor="")
    return None


def _answer(refused: Refused, now: int, resource: ResourcePath, condition: Condition) -> LockedAnswer:
    return LockedAnswer.of(refused, resource, condition, now=instant(now), wall_offset=_NO_OFFSET)
