"""The client's errors: a sentence, their facts, and both survive pickling and copying."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import httpx
import pytest
import requests

from holdfast.client import (
    ClientError,
    ClientResponse,
    KnownLock,
    LockedDetails,
    LockedError,
    LockedKind,
    LockLostError,
    LostReason,
    NotReplayableError,
    raise_for_locked,
)

NOW = datetime(2026, 11, 21, 10, 12, tzinfo=UTC)
UNTIL = datetime(2026, 11, 21, 14, 32, tzinfo=UTC)
ADA = KnownLock(resource="/orders/42", holder="Ada", until=UNTIL)


def details(**changes):
    values = {
        "status": 423, "kind": LockedKind.HELD_BY_OTHER, "resource": "/orders/42", "locks": (ADA,), "answered_at": NOW,
    }  # fmt: skip
    return LockedDetails(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, waited, attempts, sentence",
    [
        ({}, 12.3, 3, "/orders/42 is locked by Ada until 14:32 UTC (waited 12 s, 3 attempts)"),
        ({}, 1.0, 1, "/orders/42 is locked by Ada until 14:32 UTC (waited 1 s, 1 attempt)"),
        ({}, 0.0, 1, "/orders/42 is locked by Ada until 14:32 UTC"),
        ({"answered_at": None}, 0.0, 1, "/orders/42 is locked by Ada until 2026-11-21 14:32 UTC"),
        ({"locks": (), "message": "Locked"}, 0.0, 2, "/orders/42 is locked (waited 0 s, 2 attempts)"),
        ({"locks": (), "code": "lock-token-submitted"}, 0.0, 1, "/orders/42 is locked"),
        ({"locks": (KnownLock(holder="anonymous", owner="Bob"),)}, 0.0, 1, "/orders/42 is locked by Bob"),
        ({"locks": (KnownLock(holder="anonymous"),)}, 0.0, 1, "/orders/42 is locked by someone"),
        ({"locks": (KnownLock(reason="nightly import"),)}, 0.0, 1, "/orders/42 is locked: nightly import"),
        ({"locks": (KnownLock(since=NOW),)}, 0.0, 1, "/orders/42 is locked since 10:12 UTC"),
        ({"kind": LockedKind.MINE_WITHOUT_TOKEN}, 0.0, 1,
         "/orders/42 is locked by you, but the token was not sent until 14:32 UTC"),
        ({"kind": LockedKind.BAD_TOKEN, "code": "LeaseLost"}, 0.0, 1,
         "The lock token sent for /orders/42 is not valid: LeaseLost"),
        ({"kind": LockedKind.ADMINISTRATIVE, "message": "Archived."}, 0.0, 1,
         "/orders/42 is closed for changes: Archived; waiting will not help"),
        ({"resource": "/a%20b%E2%80%AEc%0Ad%FF"}, 0.0, 1, "/a bc d\ufffd is locked by Ada until 14:32 UTC"),
        ({"resource": ""}, 0.0, 1, "The resource is locked by Ada until 14:32 UTC"),
    ],
)  # fmt: skip
def test_a_locked_error_reads_as_a_sentence(changes, waited, attempts, sentence):
    assert str(LockedError(details(**changes), waited=waited, attempts=attempts)) == sentence


def test_the_facts_of_a_locked_error_are_at_hand():
    error = LockedError(details(retry_after=5.0, code="locked", queue_length=3, position=2), waited=1.5, attempts=2)
    assert (error.resource, error.holder, error.since, error.until) == ("/orders/42", "Ada", None, UNTIL)
    assert (error.retry_after, error.code, error.kind) == (5.0, "locked", LockedKind.HELD_BY_OTHER)
    assert (error.locks, error.queue_length, error.position) == ((ADA,), 3, 2)
    assert (error.waited, error.attempts, error.response) == (1.5, 2, None)


class Unpicklable:
    """A response with a connection in it."""

    status_code = 423
    url = "https://ada:pw@files.example/a"
    headers = httpx.Headers({"Retry-After": "5"})
    content = b"Locked"

    def __reduce__(self):
        raise TypeError("a socket cannot be pickled")


class OwnError(LockedError):
    """A program's own kind of it."""


RESPONSES = [
    None,
    Unpicklable(),
    object(),
    lambda: None,
    ClientResponse(status=423, url="https://files.example/a", body=b"x"),
    httpx.Response(423, content=b"x", request=httpx.Request("PUT", "https://files.example/a")),
    requests.Response(),
]


def same_facts(one, other):
    return (
        type(one) is type(other)
        and (one.details, one.waited, one.attempts) == (other.details, other.waited, other.attempts)
        and str(one) == str(other)
        and getattr(one, "job", None) == getattr(other, "job", None)
    )


@pytest.mark.parametrize("kind", [LockedError, OwnError])
@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: type(response).__name__)
def test_a_locked_error_survives_pickling_and_copying_whatever_its_response(response, kind):
    error = kind(details(), response, waited=3.0, attempts=4)
    error.job = "nightly"
    error.add_note("while importing")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert same_facts(again, error)
        assert again.__notes__ == ["while importing"]
    assert copy.copy(error).response is response


def test_after_pickling_there_is_what_was_read_of_the_response():
    error = pickle.loads(pickle.dumps(LockedError(details(), Unpicklable())))
    assert error.response == ClientResponse.of((423, {"Retry-After": "5"}, b"Locked", "https://files.example/a"))
    with pytest.raises(LockedError) as caught:
        raise_for_locked(httpx.Response(423, content=b"x"), waited=2.0, attempts=3)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.response.status, again.response.body, again.waited, again.attempts) == (423, b"x", 2.0, 3)


@pytest.mark.parametrize(
    "error",
    [LockLostError("/a", LostReason.BROKEN, "Bob broke it."), NotReplayableError("PUT", "/a", "its body is spent")],
)
def test_the_other_errors_survive_pickling_and_copying_too(error):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (str(again), again.__dict__) == (str(error), error.__dict__)
    assert isinstance(error, ClientError)
