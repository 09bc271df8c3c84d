"""The checker finds what is planted: each promise has histories that keep it, and one that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.histories.checker import (
    CHECKS,
    believed_together,
    granted_twice,
    lost_while_believed,
    missed_wakeups,
    passed_in_line,
    refused_without_cause,
    tokens_against_holding,
    tokens_against_time,
)
from tests.histories.history import Ask, History, Operation, Span, conflict, read_history

A = Ask("/a", ttl=10)


class Script:
    """Writes histories: each method adds one operation, from one instant to another, as some client would record it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def grant(self, name: str, start: float, end: float, fencing: int, ask: Ask = A) -> Script:
        """An acquire that was granted."""
        return self._add(Operation(name, "acquire", start, end, 201, ask, ask.id or f"lock-{fencing}", fencing))

    def refuse(self, name: str, start: float, end: float, ask: Ask = A, position: int | None = None) -> Script:
        """An acquire that was answered 423."""
        return self._add(Operation(name, "acquire", start, end, 423, ask, ask.id, None, position))

    def lose(self, name: str, start: float, end: float, ask: Ask = A) -> Script:
        """An acquire whose answer never came."""
        return self._add(Operation(name, "acquire", start, end, 0, ask, ask.id))

    def refresh(self, name: str, start: float, end: float, lock_id: str, status: int = 200) -> Script:
        """A refresh."""
        return self._add(Operation(name, "refresh", start, end, status, None, lock_id))

    def release(self, name: str, start: float, end: float, lock_id: str, status: int = 204) -> Script:
        """A release."""
        return self._add(Operation(name, "release", start, end, status, None, lock_id))

    def _add(self, operation: Operation) -> Script:
        self.operations.append(operation)
        return self

    def history(self, *outages: Span, stopped: dict[str, tuple[Span, ...]] | None = None) -> History:
        """What was recorded."""
        return History(tuple(self.operations), outages, stopped or {})


WAITS = replace(A, wait=30.0)
SHARED = replace(A, scope="shared")
POLLS = replace(A, wait=2.0, id="polled")

KEPT = {
    "one after the other": Script().grant("ann", 0, 1, 1).release("ann", 2, 3, "lock-1").grant("bob", 2.1, 4, 2),
    "after the end of a lock that was left": Script().grant("ann", 0, 1, 1).grant("bob", 10.5, 11, 2),
    "different resources": Script().grant("ann", 0, 1, 1).grant("bob", 0, 1, 2, Ask("/b", ttl=10)),
    "shared together": Script().grant("ann", 0, 1, 1, SHARED).grant("bob", 0.5, 1, 2, SHARED),
    "a refusal while another holds": Script().grant("ann", 0, 1, 1).refuse("bob", 2, 3),
    "a refusal by a lock that nobody heard of": Script().lose("ann", 0, 1).refuse("bob", 9, 9.5),
    "a wait that ends with the release": (
        Script().grant("ann", 0, 1, 1).grant("bob", 2, 6, 2, WAITS).release("ann", 5, 5.5, "lock-1")
    ),
    "an earlier one served first": (
        Script()
        .grant("ann", 0, 1, 1)
        .refuse("bob", 1, 3, POLLS, 1)
        .release("ann", 5, 6, "lock-1")
        .grant("bob", 4, 6, 2, POLLS)
        .release("bob", 7, 7.1, "polled")
        .grant("eve", 4.1, 7.5, 3, WAITS)
    ),
    "a client that gave up is passed": (
        Script()
        .grant("ann", 0, 1, 1, replace(A, ttl=30))
        .refuse("bob", 1, 3, POLLS, 1)
        .release("ann", 25, 26, "lock-1")
        .grant("eve", 4, 26, 2, WAITS)
    ),
}
"""Histories that nothing speaks against."""


@pytest.mark.parametrize("name", KEPT)
def test_nothing_is_found_where_all_is_well(name: str) -> None:
    history = KEPT[name].history()
    assert {check.__name__: check(history) for check in CHECKS} == {check.__name__: [] for check in CHECKS}


TREE = Ask("/tree", depth="infinity", ttl=10)
PLANTED: dict[str, tuple[Callable[[History], list[str]], Script, str]] = {
    "two exclusive locks at once": (
        believed_together,
        Script().grant("ann", 0, 1, 1).grant("bob", 2, 3, 2),
        "Held together: ann's",
    ),
    "an exclusive lock beside a shared one": (
        believed_together,
        Script().grant("ann", 0, 1, 1, SHARED).grant("eve", 0, 1, 2, SHARED).grant("bob", 2, 3, 3),
        "ann's shared lock",
    ),
    "a lock below a tree that is locked in depth": (
        believed_together,
        Script().grant("ann", 0, 1, 1, TREE).grant("bob", 2, 3, 2, Ask("/tree/a", ttl=10)),
        "/tree/a",
    ),
    "a grant in the time that a refresh added": (
        believed_together,
        Script().grant("ann", 0, 1, 1).refresh("ann", 8, 9, "lock-1").grant("bob", 16, 17, 2),
        "to 18.000",
    ),
    "one fencing token twice": (
        granted_twice,
        Script().grant("ann", 0, 1, 7).grant("bob", 20, 21, 7, replace(A, id="other")),
        "One fencing token",
    ),
    "a repeated request with another token": (
        granted_twice,
        Script().grant("ann", 0, 1, 7, POLLS).grant("ann", 2, 3, 8, POLLS),
        "different fencing tokens",
    ),
    "a fencing token that does not rise, on another resource": (
        tokens_against_time,
        Script().grant("ann", 0, 1, 8).grant("bob", 2, 3, 7, Ask("/b")),
        "no higher fencing token",
    ),
    "a later holder with a lower token, granted while both asked": (
        tokens_against_holding,
        Script().grant("ann", 0, 1, 9).release("ann", 2, 3, "lock-9").grant("bob", 0, 4, 8, WAITS),
        "lower fencing token",
    ),
    "a lock that a crash lost": (
        lost_while_believed,
        Script().grant("ann", 0, 1, 1).refresh("ann", 5, 6, "lock-1", 404),
        "404",
    ),
    "a refreshed lock that is gone at its release": (
        lost_while_believed,
        Script().grant("ann", 0, 1, 1).refresh("ann", 8, 9, "lock-1").release("ann", 12, 13, "lock-1", 410),
        "410",
    ),
    "a refusal where nothing is held": (
        refused_without_cause,
        Script().grant("ann", 0, 1, 1).release("ann", 2, 3, "lock-1").refuse("bob", 4, 5),
        "nothing was in the way",
    ),
    "a shared lock refused beside a shared one": (
        refused_without_cause,
        Script().grant("ann", 0, 1, 1, SHARED).refuse("bob", 2, 3, SHARED),
        "nothing was in the way",
    ),
    "a newcomer before one who polls": (
        passed_in_line,
        Script()
        .grant("ann", 0, 1, 1)
        .refuse("bob", 1, 3, POLLS, 1)
        .release("ann", 4, 5, "lock-1")
        .grant("eve", 3.5, 5, 2, WAITS)
        .grant("bob", 3.1, 20, 3, POLLS),
        "was passed by eve's",
    ),
    "a newcomer before one who polls and gets nothing": (
        passed_in_line,
        Script()
        .grant("ann", 0, 1, 1)
        .refuse("bob", 1, 3, POLLS, 1)
        .release("ann", 4, 5, "lock-1")
        .grant("eve", 3.5, 5, 2, WAITS)
        .refuse("bob", 8, 10, POLLS, 1),
        "bob stood in line",
    ),
    "a reader before a waiting writer": (
        passed_in_line,
        Script()
        .grant("ann", 0, 1, 1, SHARED)
        .refuse("bob", 1, 3, POLLS, 1)
        .grant("eve", 3.5, 4, 2, SHARED)
        .refuse("bob", 5, 7, POLLS, 1),
        "was passed by eve's shared",
    ),
    "a wait that goes on after the release": (
        missed_wakeups,
        Script().grant("ann", 0, 1, 1).grant("bob", 2, 12, 2, WAITS).release("ann", 5, 5.5, "lock-1"),
        "from 5.500 to 12.000",
    ),
    "a wait that goes on after the end of a lock that was left": (
        missed_wakeups,
        Script().grant("ann", 0, 1, 1).refuse("bob", 2, 32, WAITS),
        "from 11.000 to 32.000",
    ),
    "two who wait for each other": (
        missed_wakeups,
        Script()
        .grant("ann", 0, 1, 1)
        .release("ann", 2, 3, "lock-1")
        .refuse("bob", 2, 32, WAITS)
        .refuse("eve", 2, 32, WAITS),
        "from 3.000 to 32.000",
    ),
    "a reader who is not let in with another one": (
        missed_wakeups,
        Script().grant("ann", 0, 1, 1, SHARED).refuse("bob", 2, 8, replace(SHARED, wait=6.0)),
        "from 2.000 to 8.000",
    ),
}
"""A broken promise each: the check that must find it, the history, and what the sentence must say."""


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str) -> None:
    check, script, said = PLANTED[name]
    found = check(script.history())
    assert found
    assert said in " ".join(found)


def test_every_check_has_something_planted() -> None:
    assert {check for check, _, _ in PLANTED.values()} == set(CHECKS)


def test_while_the_server_is_down_or_the_client_stopped_nobody_is_kept_waiting() -> None:
    script = Script().grant("ann", 0, 1, 1).release("ann", 2, 3, "lock-1").grant("bob", 2, 9, 2, WAITS)
    assert missed_wakeups(script.history())
    assert not missed_wakeups(script.history(Span(3, 8)))
    assert not missed_wakeups(script.history(stopped={"bob": (Span(3.5, 8.5),)}))


def test_a_reader_behind_a_waiting_writer_is_held_up_by_the_lock_before_both() -> None:
    script = (
        Script().grant("ann", 0, 1, 1, SHARED).refuse("bob", 2, 9, WAITS).refuse("eve", 3, 9, replace(SHARED, wait=6.0))
    )
    assert missed_wakeups(script.history()) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Ask("/a"), Ask("/a"), True),
        (Ask("/a", "shared"), Ask("/a", "shared"), False),
        (Ask("/a", "shared"), Ask("/a"), True),
        (Ask("/a"), Ask("/a/b"), False),
        (Ask("/a", depth="infinity"), Ask("/a/b"), True),
        (Ask("/a/b"), Ask("/a", depth="infinity"), True),
        (Ask("/a", depth="infinity"), Ask("/ab"), False),
    ],
)
def test_what_conflicts(first: Ask, second: Ask, expected: bool) -> None:
    assert conflict(first, second) is expected


def test_a_record_is_read_as_it_was_written() -> None:
    """An operation without an answer ended, as far as anybody knows, when its client was killed; half a line says nothing."""
    lines = [
        '{"client": "ann", "number": 1, "kind": "acquire", "start": 1.5, "resource": "/a", "ttl": 2, "wait": 1, "id": "x"}\n',
        '{"client": "ann", "number": 1, "end": 2.5, "status": 201, "id": "x", "fencing": 4}\n',
        '{"client": "ann", "number": 2, "kind": "refresh", "start": 3.0, "id": "x"}\n',
        '{"client": "ann", "number": 3, "kind": "relea',
    ]
    history = read_history(lines, killed={"ann": 4.0})
    assert history.operations == (
        Operation("ann", "acquire", 1.5, 2.5, 201, Ask("/a", ttl=2, wait=1, id="x"), "x", 4),
        Operation("ann", "refresh", 3.0, 4.0, 0, None, "x"),
    )
