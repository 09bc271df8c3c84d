"""Rules P01 to P08 on problem details of any status, and the praise for complete ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.inspecting import findings_of
from holdfast.inspector.notes import note_of
from holdfast.inspector.rules import RULES

TYPE = "https://api.example/problems/locked"
RIGHT = {"type": TYPE, "title": "Locked", "status": 423, "detail": "Ada is editing order 42.", "instance": "/orders/42"}


def answer(body, status=423, content_type="application/problem+json", method="POST", sent=(), fields=()):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange(
        request=SentRequest(method=method, url="http://api.example/orders/42", fields=tuple(sent)),
        response=ReceivedResponse(status=status, fields=(("Content-Type", content_type), *fields), body=raw),
        received_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
    )


def problem(**members):
    return {**RIGHT, **members}


def notes(rule_id, exchange):
    found = RULES[rule_id]
    return [note_of(found, finding) for finding in findings_of(found, Inspected(exchange))]


def levels(rule_id, exchange):
    return [note.level.value for note in notes(rule_id, exchange)]


def all_of_p(exchange):
    return {rule_id for rule_id in RULES if rule_id[0] == "P" and levels(rule_id, exchange)}


@pytest.mark.parametrize(
    "body",
    [
        RIGHT,
        {},
        {"title": "Locked", "status": 423},
        {"type": "about:blank", "title": "locked"},
        problem(type="urn:problem-type:holdfast:locked", locks=[], retry_after=5),
        problem(type="tag:api.example,2026:locked", status=423.0),
        problem(instance="urn:uuid:7a0d2d1c-0000-4000-8000-000000000000"),
        problem(detail="Select an order from the list, then update it and set the date."),
    ],
)
def test_right_problems_are_right(body):
    assert all_of_p(answer(body)) == set()


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500, 503])
def test_a_problem_of_any_status_is_judged_by_its_own(status):
    assert all_of_p(answer(problem(status=status), status)) == set()
    assert all_of_p(answer(problem(status=423), status)) == {"P02"}


# P01


@pytest.mark.parametrize(
    "body", [b"locked", b"{", b"<D:error/>", b"[]", b'"locked"', b"423", b"null", b"\xff{}", b"{} {}", b""]
)
def test_what_is_no_json_object_is_no_problem(body):
    assert levels("P01", answer(body)) == ["bad"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", 7),
        ("title", ["Locked"]),
        ("status", "423"),
        ("status", True),
        ("detail", ["a"]),
        ("instance", {}),
        ("title", False),
    ],
)
def test_a_member_of_the_wrong_type_is_bad(name, value):
    found = notes("P01", answer(problem(**{name: value})))
    assert [note.level.value for note in found] == ["bad"]
    assert name in found[0].summary


def test_null_is_worth_a_word_alone():
    """Serialisers write it for what is absent; clients ignore it as they must."""
    assert levels("P01", answer(problem(instance=None))) == ["info"]


def test_an_answer_to_head_has_no_body_to_judge():
    assert levels("P01", answer(b"", method="HEAD")) == []


def test_only_what_is_called_a_problem_is_judged_as_one():
    assert all_of_p(answer({"status": "no", "title": 7}, content_type="application/json")) == set()


# P02


@pytest.mark.parametrize("status", [409, 200, 0, -1, 423.5, 10**30])
def test_another_status_in_the_body_is_bad(status):
    assert levels("P02", answer(problem(status=status))) == ["bad"]


# P03, P04: the type


def test_a_title_of_its_own_needs_a_type_of_its_own():
    assert levels("P03", answer({"title": "Order is being edited"})) == ["warn"]
    assert levels("P03", answer({"type": "about:blank", "title": "Busy"})) == ["warn"]
    assert levels("P03", answer(problem(title="Order is being edited"))) == []


def test_a_title_may_be_translated():
    german = {"title": "Gesperrt"}
    assert levels("P03", answer(german)) == ["warn"]
    assert levels("P03", answer(german, fields=(("Content-Language", "de"),))) == []
    assert levels("P03", answer(german, sent=(("Accept-Language", "de, en;q=0.5"),))) == []


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (422, "Unprocessable Entity"),
        (422, "Unprocessable Content"),
        (413, "Payload Too Large"),
        (413, "Content Too Large"),
        (299, "Whatever"),
    ],
)
def test_phrases_of_older_standards_and_unknown_codes_are_accepted(status, title):
    assert levels("P03", answer({"title": title}, status)) == []


def test_a_relative_type_is_another_on_each_host():
    assert levels("P03", answer(problem(type="/problems/locked"))) == ["info"]
    assert levels("P04", answer(problem(type="/problems/locked"))) == []


@pytest.mark.parametrize(
    "kind",
    ["http-locked", "locked", "problems/locked", "Order is locked", "https://api.example/ä", "http://[", "#locked"],
)
def test_a_bare_word_is_no_uri(kind):
    assert levels("P04", answer(problem(type=kind))) == ["warn"]
    assert levels("P03", answer(problem(type=kind))) == []


# P05


@pytest.mark.parametrize(
    "detail",
    [
        "Order 42 is locked by Ada Lovelace",
        "Lease on order 42 held until 2026-09-08T14:32:10Z by USER 'alice@example.com'",
    ],
)
def test_facts_in_prose_alone_are_out_of_reach(detail):
    assert levels("P05", answer(problem(detail=detail))) == ["info"]
    assert levels("P05", answer(problem(detail=detail, lock={"holder": "Ada"}))) == []
    assert levels("P05", answer(problem(detail=detail, status=409), 409)) == []


def test_a_sentence_without_facts_hides_none():
    assert levels("P05", answer(problem(detail="The order is locked. Try again later."))) == []


# P06


@pytest.mark.parametrize("name", ["id", "expires-at", "2fa", "_lock", "lock.id", "é_lock", "", "x"])
def test_extension_names_that_not_every_format_holds(name):
    assert levels("P06", answer(problem(**{name: 1}))) == ["warn"]


@pytest.mark.parametrize("name", ["retryAfter", "expires_at", "lock", "abc", "A1_"])
def test_extension_names_that_every_format_holds(name):
    assert levels("P06", answer(problem(**{name: 1}))) == []


# P07


@pytest.mark.parametrize(
    "text",
    [
        'Traceback (most recent call last):\n  File "/app/main.py", line 3, in put',
        "java.lang.IllegalStateException: locked\n\tat com.example.Orders.put(Orders.java:42)",
        "Error: locked\n    at Orders.put (/srv/app.js:10:5)",
        "   at Shop.Orders.Put(Int32 id) in C:\\src\\Orders.cs:line 42",
        "goroutine 7 [running]:",
        "SELECT * FROM orders WHERE id = 42 FOR UPDATE NOWAIT",
        "SQLSTATE[55P03]: Lock not available",
        "ORA-00054: resource busy and acquire with NOWAIT specified",
        "sqlite3.OperationalError: database is locked",
    ],
)
def test_the_programs_inside_is_nobodys_business(text):
    assert levels("P07", answer(problem(detail=text))) == ["warn"]
    assert levels("P07", answer(problem(trace=text))) == ["warn"]


@pytest.mark.parametrize("instance", ["order 42", "/orders/ä", "http://[", "/a%zz"])
def test_an_instance_that_is_no_reference_leads_nowhere(instance):
    assert levels("P07", answer(problem(instance=instance))) == ["warn"]


def test_looking_for_traces_takes_no_long_time():
    for text in ("at " * 20_000, "SELECT " * 20_000, "at x in " * 20_000, "UPDATE " * 20_000):
        assert levels("P07", answer(problem(detail=text))) == []


# P08


def test_a_wrapped_problem_is_bad():
    assert levels("P08", answer({"detail": RIGHT}, content_type="application/json")) == ["bad"]
    assert levels("P08", answer({"detail": RIGHT})) == ["bad"]
    assert levels("P01", answer({"detail": RIGHT})) == []


def test_plain_json_may_have_details_of_its_own():
    plain = {"content_type": "application/json"}
    assert levels("P08", answer({"detail": {"locked_by": "Ada"}}, **plain)) == ["info"]
    assert levels("P08", answer({"detail": {"locked_by": "Ada"}}, 409, **plain)) == []
    assert levels("P08", answer({"detail": {"locked_by": "Ada"}, "code": 7}, **plain)) == []
    assert levels("P08", answer({"detail": [{"loc": ["body"]}]}, 422, **plain)) == []
    assert levels("P08", answer({"detail": {"type": "a", "title": "b"}}, 200, **plain)) == []


# G08


def test_praise_is_for_complete_problems_alone():
    assert levels("G08", answer(RIGHT)) == ["good"]
    for changed in ({"type": "about:blank"}, {"type": "locked"}, {"status": 409}, {"title": ""}, {"detail": None}):
        assert levels("G08", answer(problem(**changed))) == []
