"""Whatever service says "locked", it is read: who, since, until, why, and what can help."""

from __future__ import annotations

import pytest

from holdfast.client import LockedError, read_locked
from tests.client.services import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_answer_of(row: Row):
    details = read_locked(row.answer, conflicts=row.conflicts)
    assert details is not None
    assert row.expected
    assert {name: getattr(details, name) for name in row.expected} == row.expected
    assert details.status == row.status
    assert "secret" not in repr(details)
    assert str(LockedError(details)).isprintable()


@pytest.mark.parametrize("row", [row for row in ROWS if row.conflicts], ids=lambda row: row.name)
def test_other_statuses_are_left_alone_unless_asked_for(row: Row):
    assert read_locked(row.answer) is None


@pytest.mark.parametrize(
    "status, body",
    [
        (409, b'{"message": "version conflict: somebody changed it"}'),
        (409, b'{"message": "Resource is not locked"}'),
        (409, b'{"message": "package-lock.json is out of date"}'),
        (409, b'<D:error xmlns:D="DAV:"><D:resource-must-be-null/></D:error>'),
        (412, b""),
        (412, b"<Error><Code>ConditionNotMet</Code></Error>"),
        (403, b'{"message": "Your account is locked"}'),
        (403, b'{"type": "error", "code": "access_denied_insufficient_permissions"}'),
        (404, b'{"errorCode": "EDIT_LOCK_ENVELOPE_NOT_LOCKED", "message": "The envelope is not locked"}'),
        (200, b'{"result": true, "__STATUS": {"lockKind": 0}}'),
        (200, b'{"entries": [{"name": "lock_conflict"}]}'),
        (503, b"Service Unavailable"),
        (401, b"Locked"),
    ],
)
def test_what_does_not_say_locked_is_none_even_when_conflicts_are_asked_for(status, body):
    assert read_locked((status, {}, body, "https://any.example/a"), conflicts=True) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"locks": []}',
        b'{"locks": [{"root": "/a"}]}',
        b'{"locks": [{"holder": "ada"}]}',
        b'{"locks": [{"holder": {"name": 7.5}, "root": 1, "since": {}, "expires_at": []}, 3, null]}',
        b'{"locks": {"holder": "ada", "root": "/a"}}',
        b'{"locks": "ada"}',
    ],
)
def test_a_list_that_names_no_holder_and_lock_is_no_proof_of_a_lock(body: bytes):
    assert read_locked((409, {}, body, "https://any.example/a"), conflicts=True) is None


def test_a_listed_lock_of_another_server_is_never_the_resource():
    body = b'{"locks": [{"root": "https://elsewhere.example/a", "holder": "ada"}]}'
    details = read_locked((423, {}, body, "https://any.example/a"))
    assert details is not None
    assert (details.holder, details.resource) == ("ada", "/a")
