"""Each code from 100 to 599, asked for with GET, HEAD, LOCK and QUERY by real clients: the inspector has nothing against any answer.

A code that answers something in the request is asked for with that: a part with Range, a 304 and a 412 with a condition, a 101
with Upgrade. What a client will not show its caller is told in `UNSHOWN`, and nothing else may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from holdfast.inspector.exchange import Exchange, FieldLine, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, REGISTERED_CODES
from tests.serving import Served
from tests.simulator.clients import CLIENTS, Failure

METHODS = ("GET", "HEAD", "LOCK", "QUERY")
CODES = range(FIRST_CODE, LAST_CODE + 1)
INTERIM = range(100, 200)

ASKED_WITH: Mapping[int, tuple[FieldLine, ...]] = {
    101: (("Connection", "Upgrade"), ("Upgrade", "websocket")),
    206: (("Range", "bytes=0-99"),),
    304: (("If-None-Match", '"simulated"'),),
    412: (("If-Match", '"simulated"'),),
    416: (("Range", "bytes=9999999-"),),
}

BECAUSE_ANY_METHOD_GETS_ANY_CODE: Mapping[tuple[str, str, int], str] = {
    ("S01", "GET", 423): "a lock does not stop reads, and yet whoever tests a client with GET gets the 423 asked for",
    ("S01", "HEAD", 423): "the same",
    ("R20", "GET", 507): "GET stores nothing",
    ("R20", "HEAD", 507): "nor does HEAD",
    ("R08", "LOCK", 304): "a LOCK whose condition is false is answered 412",
    ("httplint:CREATED_SAFE_METHOD", "GET", 201): "GET creates nothing",
    ("httplint:CREATED_SAFE_METHOD", "HEAD", 201): "nor does HEAD",
    **{("R23", method, 305): "305 is deprecated, whoever sends it" for method in METHODS},
    **{
        ("httplint:STATUS_417_WITHOUT_EXPECT", method, 417): "Expect is for requests with content, and these have none"
        for method in METHODS
    },
}
"""The warnings that the simulator earns by design: it answers each method with each code."""

UNSHOWN: Mapping[str, Mapping[int, str]] = {
    "fetch": {
        100: "node takes a 100 that it has not asked for as a fault of the server",
        101: "fetch refuses Connection and Upgrade in a request",
        407: "a 407 is a network error to fetch",
    },
}
"""By client, the codes of which its caller gets no answer, and why. Every other answer must be there."""
TAKES_INTERIM_FOR_FINAL = {"requests": frozenset(INTERIM) - {100, 101}}
"""http.client knows 100 alone; any other 1xx it gives to its caller as if it were final, and leaves the rest unread."""
SHOWS_INTERIM = frozenset({"socket", "curl"})


@pytest.mark.parametrize(
    "name",
    ["socket", "httpx", "requests"]
    + [pytest.param(name, marks=pytest.mark.tool(tool)) for name, tool in {"curl": "curl", "fetch": "node"}.items()],
)
def test_the_inspector_has_nothing_against_any_answer(open_server: Served, tmp_path: Path, name: str) -> None:
    """By its own rules; see below for httplint's."""
    unshown, taken_for_final = UNSHOWN.get(name, {}), TAKES_INTERIM_FOR_FINAL.get(name, frozenset())
    for request, seen in zip(asked := _requests(open_server), CLIENTS[name](asked, tmp_path), strict=True):
        code = int(request.url[-3:])
        if code in unshown:
            assert isinstance(seen, Failure), (name, code, unshown[code])
            continue
        assert isinstance(seen, Exchange), (name, request.method, code, seen)
        if code in taken_for_final:
            assert (seen.response.status, seen.response.body) == (code, b"")
            continue
        _is_that_code(seen, code, shows_interim=name in SHOWS_INTERIM)
        _has_nothing_against(seen, code, generic=False)


def test_nor_has_httplint(open_server: Served, tmp_path: Path) -> None:
    """Of the bytes of the wire. It is slow, so each code once, and those that are registered by every method."""
    asked = [one for one in _requests(open_server) if one.method == "GET" or int(one.url[-3:]) in REGISTERED_CODES]
    for request, seen in zip(asked, CLIENTS["socket"](asked, tmp_path), strict=True):
        assert isinstance(seen, Exchange)
        _has_nothing_against(seen, int(request.url[-3:]), generic=True)


def test_each_named_warning_is_earned(open_server: Served, tmp_path: Path) -> None:
    """So that none stays in the list that is not needed any more."""
    codes = {(method, code) for _, method, code in BECAUSE_ANY_METHOD_GETS_ANY_CODE}
    asked = [one for one in _requests(open_server) if (one.method, int(one.url[-3:])) in codes]
    earned = {
        (note.rule, request.method, int(request.url[-3:]))
        for request, seen in zip(asked, CLIENTS["socket"](asked, tmp_path), strict=True)
        if isinstance(seen, Exchange)
        for note in inspect(seen).notes
        if note.level is Level.WARN
    }
    assert earned == set(BECAUSE_ANY_METHOD_GETS_ANY_CODE)


def _requests(served: Served) -> list[SentRequest]:
    return [
        SentRequest(method=method, url=f"{served.url}/api/status/{code}", fields=ASKED_WITH.get(code, ()))
        for method in METHODS
        for code in CODES
    ]


def _is_that_code(seen: Exchange, code: int, *, shows_interim: bool) -> None:
    is_interim = code in INTERIM and code != 101
    assert seen.response.status == (200 if is_interim else code)
    assert [one.status for one in seen.interim] == ([code] if is_interim and shows_interim else [])
    assert seen.response.values("x-simulated") == [str(code)]


def _has_nothing_against(seen: Exchange, code: int, *, generic: bool) -> None:
    report = inspect(seen, generic=generic)
    assert report.failures == ()
    wrong = [
        f"{seen.method} {code}: {note.level} {note.rule} {note.summary}"
        for note in report.notes
        if note.level in {Level.BAD, Level.WARN}
        and (note.rule, seen.method, code) not in BECAUSE_ANY_METHOD_GETS_ANY_CODE
    ]
    assert wrong == []
