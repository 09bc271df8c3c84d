"""A locked database as a 423: which refusals are one, what it says of the holder, and what it never says."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from holdfast.databases import DatabaseLockedError, Dialect, Holder, LockKind, answer_error, classify, locked_answer
from holdfast.databases.codes import CODES
from holdfast.wire.locked import locked_detail, locked_response, parse_locked_problem, retry_after

NOW = datetime(2026, 11, 22, 10, 12, tzinfo=UTC)
ADA = Holder(
    dialect=Dialect.POSTGRESQL,
    pid=4711,
    user="ada",
    program="reports",
    host="10.0.0.7",
    statement="SELECT secret FROM vault",
    doing="is idle in a transaction",
    held_s=60.0,
)


def refused(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    return error


def test_the_holder_is_named_and_its_statement_and_address_are_not():
    locked = classify(refused(5))
    assert locked is not None
    answer = locked_answer(locked, [ADA], resource="/orders/42", now=NOW)
    assert answer is not None
    assert "ada has locked /orders/42 (reports) since 10:11 UTC" in locked_detail(answer)
    for accept in ("application/json", "application/xml", "text/html"):
        response = locked_response(answer, accept)
        assert response.status == 423
        assert b"secret" not in bytes(response.body)
        assert b"10.0.0.7" not in bytes(response.body)
        assert "describedby" not in dict(response.headers).get("Link", "")  # it has no page of its own
    problem = parse_locked_problem(bytes(locked_response(answer, "application/json").body))
    assert problem is not None
    assert (problem.locks[0].holder.name, problem.locks[0].since) == ("ada", NOW - timedelta(seconds=60))
    assert problem.retry_after == 2


@pytest.mark.parametrize(
    ("code", "kind", "seconds"),
    [(5, LockKind.HELD, 2), (517, LockKind.STALE, 1), (6, LockKind.SELF, None), (1, None, None)],
)
def test_what_waiting_helps_is_a_423_and_nothing_else_is(code: int, kind: LockKind | None, seconds: int | None):
    answer = answer_error(refused(code), now=NOW)
    found = classify(refused(code))
    assert (None if found is None else found.kind) is kind
    assert (None if answer is None else retry_after(answer)) == seconds


def test_no_code_but_those_of_a_lock_becomes_a_423():
    for dialect, table in CODES.items():
        for code in table.values():
            locked = classify(refused(5))
            assert locked is not None
            told = msgspec.structs.replace(locked, dialect=dialect, kind=code.kind)
            is_423 = locked_answer(told, now=NOW) is not None
            assert is_423 == (code.kind in {LockKind.HELD, LockKind.STALE, LockKind.DEADLOCK})


def test_what_a_retry_has_found_out_is_not_asked_again():
    locked = classify(refused(5))
    assert locked is not None
    error = DatabaseLockedError(locked, (ADA,), 12.0, 9)
    answer = answer_error(error, "/no/such/database.db", resource="/orders/42", now=NOW)
    assert answer is not None
    assert [lock.holder.name for lock in answer.locks] == ["ada"]


def test_a_holder_of_whom_no_time_is_known_has_it_since_it_was_noticed():
    locked = classify(refused(5))
    assert locked is not None
    process = Holder(dialect=Dialect.SQLITE, pid=99, doing="is writing")
    answer = answer_error(DatabaseLockedError(locked, (process,), 12.0, 9), now=NOW)
    assert answer is not None
    assert answer.locks[0].created_at == NOW - timedelta(seconds=12)
    assert answer.locks[0].holder.name == "process 99"
