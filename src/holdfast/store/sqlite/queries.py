"""The SQL of the SQLite store, one constant for each question, with a line of purpose.

Owns: the texts. Must not know: when they are run. The tests ask SQLite for the plan of every text in
`ALL` and refuse a scan of locks, waiters or properties.
"""
# ruff: noqa: S608 - the texts are put together from constants of this module.

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = [
    "ALL",
    "APPEND_EVENT",
    "BREAK_WITH_TOKEN",
    "COPY_PROPERTIES_BELOW",
    "COPY_PROPERTIES_ON",
    "COUNT_LOCKS",
    "COUNT_LOCKS_OF",
    "COUNT_WAITERS",
    "END_OF_LOCK",
    "EVENTS_AFTER",
    "EXPIRED_LOCKS",
    "INSERT_LOCK",
    "INSERT_WAITER",
    "LAPSED_WAITERS",
    "LATEST_SEQ",
    "LOCKS_BETWEEN",
    "LOCKS_BETWEEN_KEYS",
    "LOCK_WITH_ID",
    "MOVE_PROPERTIES_BELOW",
    "MOVE_PROPERTIES_ON",
    "PROPERTIES_ON",
    "PROPERTIES_ON_MEMBERS",
    "PUT_BREAK",
    "PUT_PROPERTY",
    "READ_ANCHOR",
    "READ_COUNTERS",
    "READ_DATA_VERSION",
    "READ_LATEST_INSTANT",
    "RELEASE",
    "REMOVE_COUNT_OF",
    "REMOVE_LOCK",
    "REMOVE_PROPERTIES_BELOW",
    "REMOVE_PROPERTIES_ON",
    "REMOVE_PROPERTY",
    "REMOVE_WAITER",
    "RENEW_WAITERS",
    "REPLACE_LOCK",
    "SAVE",
    "SKIP_FENCING_TOKENS",
    "SOMEONE_WAITS",
    "TRIM_BREAKS",
    "TRIM_EVENTS",
    "UNDO",
    "WAITERS_BETWEEN",
    "WAITERS_ON_ONE",
    "WAITER_WITH_ID",
    "WRITE_ANCHOR",
    "WRITE_COUNTERS",
    "WRITE_COUNT_OF",
    "WRITE_LATEST_INSTANT",
    "locks_on",
    "waiters_on",
]

_LOCK: Final = (
    "id, token, root, scope, depth, principal, owner, owner_xml, reason, client, face, fencing_token,"
    " created_at, refreshed_at, expires_at"
)

_JOINED: Final = ", ".join(name if name == "root" else f"locks.{name}" for name in _LOCK.split(", "))

LOCKS_BETWEEN: Final = f"SELECT {_LOCK} FROM locks WHERE root >= ? AND root < ? ORDER BY root, id LIMIT ?"
"""The locks in a range of roots, in path order: those below a path, or the rest of them."""

LOCKS_BETWEEN_KEYS: Final = (
    f"SELECT {_LOCK} FROM locks WHERE (root, id) > (?, ?) AND root < ? ORDER BY root, id LIMIT ?"
)
"""A page of the locks in a range of roots, from just after a root and an id."""

LOCK_WITH_ID: Final = f"SELECT {_LOCK} FROM locks WHERE id = ?"
"""The lock that a public id names."""

EXPIRED_LOCKS: Final = f"SELECT {_LOCK} FROM locks WHERE expires_at <= ? ORDER BY expires_at, root, id LIMIT ?"
"""The locks whose time has run out, earliest first."""

COUNT_LOCKS: Final = "SELECT locks FROM counters"
"""How many locks there are; every commit writes the number."""

COUNT_LOCKS_OF: Final = "SELECT locks FROM principals WHERE principal = ?"
"""How many locks a principal has; no row without one."""

WRITE_COUNT_OF: Final = "INSERT OR REPLACE INTO principals (principal, locks) VALUES (?, ?)"
"""How many locks a principal has after a commit."""

REMOVE_COUNT_OF: Final = "DELETE FROM principals WHERE principal = ?"
"""A principal has no lock any more."""

INSERT_LOCK: Final = f"INSERT INTO locks ({_LOCK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Keep a new lock."""

REPLACE_LOCK: Final = (
    "UPDATE locks SET token = ?, scope = ?, depth = ?, owner = ?, owner_xml = ?, reason = ?, client = ?, face = ?,"
    " fencing_token = ?, created_at = ?, refreshed_at = ?, expires_at = ? WHERE root = ? AND id = ?"
)
"""New values for a lock; its root, id and principal stay."""

REMOVE_LOCK: Final = "DELETE FROM locks WHERE root = ? AND id = ?"
"""Forget a lock."""

_WAITER: Final = (
    "seq, id, root, scope, depth, principal, owner, owner_xml, reason, client, face, asked_s, endless, enqueued_at,"
    " lease_until, comes_back"
)

WAITERS_ON_ONE: Final = f"SELECT {_WAITER} FROM waiters WHERE root = ? AND seq < ? ORDER BY seq LIMIT ?"
"""The first of those who wait for one root."""

WAITERS_BETWEEN: Final = (
    f"SELECT {_WAITER} FROM waiters WHERE seq IN"
    " (SELECT seq FROM waiters INDEXED BY waiters_by_root WHERE root >= ? AND root < ? AND seq < ? ORDER BY seq LIMIT ?) ORDER BY seq"
)
"""The first of those who wait for the roots of a range. What is sorted is numbers, from the index alone; left to
itself SQLite would go through the whole line, which is in order already."""

WAITER_WITH_ID: Final = f"SELECT {_WAITER} FROM waiters WHERE id = ?"
"""Who waits for the lock that will have an id."""

LAPSED_WAITERS: Final = f"SELECT {_WAITER} FROM waiters WHERE lease_until <= ? ORDER BY lease_until, seq LIMIT ?"
"""The waiters whose lease has run out, earliest first."""

SOMEONE_WAITS: Final = "SELECT EXISTS (SELECT 1 FROM waiters)"
"""Whether there is any waiter."""

COUNT_WAITERS: Final = "SELECT waiters FROM counters"
"""How many waiters there are; every commit writes the number."""

INSERT_WAITER: Final = f"INSERT INTO waiters ({_WAITER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Keep a waiter at the end of the line."""

RENEW_WAITERS: Final = "UPDATE waiters SET lease_until = ? WHERE id IN (SELECT value FROM json_each(?))"
"""A new lease for all whose ids are in a JSON array."""

REMOVE_WAITER: Final = "DELETE FROM waiters WHERE seq = ? AND id = ?"
"""Forget a waiter."""

READ_COUNTERS: Final = "SELECT next_fencing_token, fencing_ceiling, next_seq, locks, next_place, waiters FROM counters"
"""What the next grant, event and waiter get, and how many locks and waiters there are."""

LATEST_SEQ: Final = "SELECT next_seq - 1 FROM counters"
"""The seq of the newest event."""

WRITE_COUNTERS: Final = (
    "UPDATE counters SET next_fencing_token = ?, fencing_ceiling = ?, next_seq = ?, locks = ?, next_place = ?,"
    " waiters = ?, latest_at = ? WHERE one = 1"
)
"""The counters at the end of a commit that used them, and its instant."""

WRITE_LATEST_INSTANT: Final = "UPDATE counters SET latest_at = ? WHERE one = 1"
"""The instant of a commit that used no counter."""

READ_LATEST_INSTANT: Final = "SELECT latest_at FROM counters"
"""The instant of the last commit, before which a clock must not resume."""

SKIP_FENCING_TOKENS: Final = "UPDATE counters SET next_fencing_token = max(next_fencing_token, fencing_ceiling)"
"""After a restart of the machine: pass over every token that may have been given out before."""

READ_DATA_VERSION: Final = "PRAGMA data_version"
"""A number that changes when anyone but this connection has committed."""

READ_ANCHOR: Final = "SELECT wall_us, uptime_us, boot FROM anchor"
"""The shared clock's anchor; no row in a new store."""

WRITE_ANCHOR: Final = "INSERT OR REPLACE INTO anchor (one, wall_us, uptime_us, boot) VALUES (1, ?, ?, ?)"
"""A new anchor, after a restart of the machine."""

APPEND_EVENT: Final = (
    "INSERT INTO events (seq, at, kind, lock_id, root, scope, depth, holder, actor, reason, fencing_token, ends_at, owner)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""One more row of the feed."""

EVENTS_AFTER: Final = (
    "SELECT seq, at, kind, lock_id, root, scope, depth, holder, actor, reason, fencing_token, ends_at, owner"
    " FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
)
"""The feed from just after a seq."""

END_OF_LOCK: Final = (
    "SELECT seq, at, kind, lock_id, root, scope, depth, holder, actor, reason, fencing_token, ends_at, owner"
    " FROM events WHERE lock_id = ? AND kind IN ('released', 'expired', 'destroyed', 'broken') ORDER BY seq DESC LIMIT 1"
)
"""How the lock with an id ended. The kinds stand here as they do in the index."""

BREAK_WITH_TOKEN: Final = "SELECT lock_id, at, actor, reason FROM breaks WHERE token = ?"  # noqa: S105 - a query, no password
"""How the lock with a token is broken."""

PUT_BREAK: Final = "INSERT OR REPLACE INTO breaks (token, lock_id, at, actor, reason) VALUES (?, ?, ?, ?, ?)"
"""A lock is broken."""

TRIM_BREAKS: Final = "DELETE FROM breaks WHERE at < ?"
"""Forget who broke what, as long ago as the feed is forgotten."""

TRIM_EVENTS: Final = (
    "DELETE FROM events WHERE seq <"
    " coalesce((SELECT seq FROM events WHERE at >= ? ORDER BY seq LIMIT 1), 9223372036854775807)"
)
"""Drop the start of the feed, up to the first event that is young enough: costs what it drops, not what it keeps."""

PROPERTIES_ON: Final = (
    "SELECT collection || member, namespace, name, xml FROM properties"
    " WHERE collection = ? AND member = ? ORDER BY namespace, name"
)
"""The dead properties of one resource."""

PROPERTIES_ON_MEMBERS: Final = (
    "SELECT collection || member, namespace, name, xml FROM properties"
    " WHERE collection = ? ORDER BY member, namespace, name"
)
"""The dead properties of all direct members of a collection."""

PUT_PROPERTY: Final = (
    "INSERT INTO properties (collection, member, namespace, name, xml) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (collection, member, namespace, name) DO UPDATE SET xml = excluded.xml"
)
"""Set a dead property."""

REMOVE_PROPERTY: Final = "DELETE FROM properties WHERE collection = ? AND member = ? AND namespace = ? AND name = ?"
"""Remove one dead property."""

REMOVE_PROPERTIES_ON: Final = "DELETE FROM properties WHERE collection = ? AND member = ?"
"""Remove all dead properties of one resource."""

REMOVE_PROPERTIES_BELOW: Final = "DELETE FROM properties WHERE collection >= ? AND collection < ?"
"""Remove all dead properties below a path."""

COPY_PROPERTIES_ON: Final = (
    "INSERT INTO properties (collection, member, namespace, name, xml)"
    " SELECT ?, ?, namespace, name, xml FROM properties WHERE collection = ? AND member = ?"
)
"""Copy the dead properties of one resource to another, which has none."""

COPY_PROPERTIES_BELOW: Final = (
    "INSERT INTO properties (collection, member, namespace, name, xml)"
    " SELECT ? || substr(collection, ?), member, namespace, name, xml FROM properties"
    " WHERE collection >= ? AND collection < ?"
)
"""Copy the dead properties below a path to below another one, where there are none."""

MOVE_PROPERTIES_ON: Final = "UPDATE properties SET collection = ?, member = ? WHERE collection = ? AND member = ?"
"""Move the dead properties of one resource to another, which has none."""

MOVE_PROPERTIES_BELOW: Final = (
    "UPDATE properties SET collection = ? || substr(collection, ?) WHERE collection >= ? AND collection < ?"
)
"""Move the dead properties below a path to below another one, where there are none."""


SAVE: Final = "SAVEPOINT one"
"""One of several transactions that share a commit begins to change something."""

UNDO: Final = "ROLLBACK TO one"
"""It is undone, and the others are not."""

RELEASE: Final = "RELEASE one"
"""It has ended."""


@lru_cache(maxsize=256)
def locks_on(count: int) -> str:
    """The locks on `count` roots: one seek each (`IN` would build a temporary table at every call, for 3 us)."""
    values = ", ".join(["(?)"] * count)
    return f"WITH wanted (root) AS (VALUES {values}) SELECT {_JOINED} FROM wanted CROSS JOIN locks USING (root)"


@lru_cache(maxsize=256)
def waiters_on(count: int) -> str:
    """Who waits for `count` roots, in no order; the last value is a seq that they come before."""
    values = ", ".join(["(?)"] * count)
    columns = ", ".join(name if name == "root" else f"waiters.{name}" for name in _WAITER.split(", "))
    return (
        f"WITH wanted (root) AS (VALUES {values})"
        f" SELECT {columns} FROM wanted CROSS JOIN waiters USING (root) WHERE waiters.seq < ?"
    )


ALL: Final = (
    LOCKS_BETWEEN,
    LOCKS_BETWEEN_KEYS,
    LOCK_WITH_ID,
    EXPIRED_LOCKS,
    COUNT_LOCKS,
    COUNT_LOCKS_OF,
    WAITERS_ON_ONE,
    WAITERS_BETWEEN,
    WAITER_WITH_ID,
    LAPSED_WAITERS,
    SOMEONE_WAITS,
    COUNT_WAITERS,
    INSERT_WAITER,
    RENEW_WAITERS,
    REMOVE_WAITER,
    LATEST_SEQ,
    WRITE_COUNT_OF,
    REMOVE_COUNT_OF,
    INSERT_LOCK,
    REPLACE_LOCK,
    REMOVE_LOCK,
    READ_COUNTERS,
    WRITE_COUNTERS,
    WRITE_LATEST_INSTANT,
    READ_LATEST_INSTANT,
    SKIP_FENCING_TOKENS,
    READ_ANCHOR,
    WRITE_ANCHOR,
    APPEND_EVENT,
    EVENTS_AFTER,
    END_OF_LOCK,
    BREAK_WITH_TOKEN,
    PUT_BREAK,
    TRIM_BREAKS,
    TRIM_EVENTS,
    PROPERTIES_ON,
    PROPERTIES_ON_MEMBERS,
    PUT_PROPERTY,
    REMOVE_PROPERTY,
    REMOVE_PROPERTIES_ON,
    REMOVE_PROPERTIES_BELOW,
    COPY_PROPERTIES_ON,
    COPY_PROPERTIES_BELOW,
    MOVE_PROPERTIES_ON,
    MOVE_PROPERTIES_BELOW,
    locks_on(1),
    locks_on(8),
    waiters_on(1),
    waiters_on(8),
)
"""Every text, for the test of their plans."""
