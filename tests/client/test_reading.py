"""Reading a refusal as locked: Holdfast's own in every form, multistatus, fields alone, whose URL it is, whose lock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.client import LockedError, LockedKind, raise_for_locked, read_locked
from holdfast.client.bodies.values import MAX_RETRY_AFTER
from holdfast.core.decisions import Standing
from holdfast.core.model import Depth, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.wire.davxml_write import Condition, error_element, render_multistatus, status_response
from holdfast.wire.locked import ContendingLock, LockedAnswer, locked_conditions, locked_response

URL = "https://ada:pw@files.example:8443/dav/plans/plan.odt?x=1#top"
NOW = datetime(2026, 11, 21, 10, 12, tzinfo=UTC)
DATE = {"Date": "Sat, 21 Nov 2026 10:12:00 GMT"}
PLANS, PLAN = ResourcePath("/dav/plans"), ResourcePath("/dav/plans/plan.odt")
TOKEN = "urn:uuid:5b3bf3a9-93d7-4d52-9f44-4c4b2f1d7c11"


def make_lock(**changes) -> Lock:
    values = {
        "id": "7Hq2", "token": TOKEN, "root": PLAN, "scope": LockScope.EXCLUSIVE, "depth": Depth.ZERO,
        "principal": "Ada", "owner": "Ada L.", "owner_xml": None, "reason": "final edit", "client": "LibreOffice/24.8",
        "face": Face.WEBDAV, "fencing_token": 1, "created_at": NOW - timedelta(minutes=10),
        "refreshed_at": NOW, "expires_at": NOW + timedelta(minutes=20),
    }  # fmt: skip
    return Lock(**{**values, **changes})


def answered(*locks, condition=Condition.LOCK_TOKEN_SUBMITTED, line=None, accept=None, resource=PLAN, office=False):
    described = tuple(ContendingLock.of(lock, queue_length=2) for lock in locks)
    answer = LockedAnswer(resource, described, condition, NOW, line=line)
    return locked_response(answer, accept, office=office)


def read(response, **options):
    return read_locked((response.status, [*response.headers, *DATE.items()], response.body, URL), **options)


def dav(inner: str, **options):
    body = f'<D:error xmlns:D="DAV:">{inner}</D:error>'
    return read_locked((423, DATE, body, URL), **options)


@pytest.mark.parametrize("accept", ["application/xml", "application/problem+json"])
def test_what_holdfast_says_is_read_back_in_both_forms(accept):
    details = read(answered(make_lock(), line=Standing(length=3, position=2), accept=accept))
    assert details.kind is LockedKind.HELD_BY_OTHER
    assert (details.service, details.holder, details.resource) == ("holdfast", "Ada", "/dav/plans/plan.odt")
    assert details.url == "https://files.example:8443/dav/plans/plan.odt"
    assert (details.since, details.until) == (NOW - timedelta(minutes=10), NOW + timedelta(minutes=20))
    assert (details.remaining, details.retry_after) == (1200.0, 60.0)
    assert (details.queue_length, details.position) == (3, 2)
    (lock,) = details.locks
    assert (lock.reason, lock.owner) == ("final edit", "Ada L.")
    assert TOKEN not in repr(details)


@pytest.mark.parametrize("accept", ["application/xml", "application/json"])
def test_holdfast_tells_where_to_read_of_each_lock(accept):
    first, second = read(answered(make_lock(), make_lock(id="9"), accept=accept)).locks
    assert (first.id, first.about) == ("7Hq2", "https://files.example:8443/api/locks/7Hq2")
    assert (second.id, second.about) == ("9", "https://files.example:8443/api/locks/9")


def test_the_json_of_holdfast_tells_what_kind_of_lock_it_is():
    (lock,) = read(answered(make_lock(), accept="application/json")).locks
    assert (lock.scope, lock.depth, lock.program) == ("exclusive", "0", "LibreOffice/24.8")


@pytest.mark.parametrize("accept", ["application/xml", "application/json"])
def test_a_lock_without_end_is_told_from_one_whose_end_is_not_known(accept):
    assert read(answered(make_lock(expires_at=None), accept=accept)).endless
    assert not read(answered(make_lock(), accept=accept)).endless
    assert not dav("<D:lock-token-submitted><D:href>/dav/plans/</D:href></D:lock-token-submitted>").endless


@pytest.mark.parametrize("accept", ["application/xml", "application/json"])
def test_where_nothing_is_held_the_line_is_told(accept):
    details = read(answered(line=Standing(length=2, position=None), accept=accept))
    assert (details.locks, details.queue_length, details.position) == ((), 2, None)
    assert details.kind is LockedKind.HELD_BY_OTHER
    assert details.resource == "/dav/plans/plan.odt"


def test_all_locks_are_told_and_the_last_end_counts():
    shared = [make_lock(id=str(n), principal=f"P{n}", expires_at=NOW + timedelta(minutes=n)) for n in (5, 9, 7)]
    details = read(answered(*shared, accept="application/json"))
    assert [lock.holder for lock in details.locks] == ["P5", "P9", "P7"]
    assert details.until == NOW + timedelta(minutes=9)
    assert str(LockedError(details)) == "/dav/plans/plan.odt is locked by P5, and 2 more until 10:21 UTC: final edit"


def test_a_page_for_people_is_no_body_to_read_but_its_fields_are():
    details = read(answered(make_lock(), accept="text/html", office=True))
    assert details.retry_after == 60.0
    assert details.holder == ""
    assert details.message.startswith("Ada is editing /dav/plans/plan.odt")
    assert [lock.about for lock in details.locks] == ["https://files.example:8443/api/locks/7Hq2"]


MULTISTATUS = render_multistatus(
    [
        status_response("/dav/plans/free.odt", 204),
        status_response(
            "/dav/plans/plan.odt", 423,
            error_element(locked_conditions(LockedAnswer(PLAN, (ContendingLock.of(make_lock()),), Condition.LOCK_TOKEN_SUBMITTED, NOW))),
        ),
        status_response("/dav/plans/other.odt", 423),
        status_response("/dav/plans/", 424),
    ]
)  # fmt: skip


@pytest.mark.parametrize("status", [207, 424, 423])
def test_the_members_of_a_multistatus_that_are_locked_are_found(status):
    """Apache answers a refused DELETE of a collection with 424 around it."""
    details = read_locked((status, DATE, MULTISTATUS, "https://files.example/dav/plans/"))
    assert details.resource == "/dav/plans/plan.odt"
    assert [lock.resource for lock in details.locks] == ["/dav/plans/plan.odt", "/dav/plans/other.odt"]
    assert details.holder == "Ada"
    assert details.is_partial == (status == 207)
    assert details.until is None, "of the other lock no end is known"


def test_a_property_that_is_locked_makes_its_resource_locked():
    body = (
        b'<D:multistatus xmlns:D="DAV:"><D:response><D:href>/a</D:href><D:propstat><D:prop><D:x/></D:prop>'
        b"<D:status>HTTP/1.1 423 Locked</D:status></D:propstat></D:response></D:multistatus>"
    )
    assert read_locked((207, {}, body, "https://files.example/a")).resource == "/a"


@pytest.mark.parametrize(
    "inner",
    [
        "<D:href>/a</D:href><D:status>HTTP/1.1 424 Failed Dependency</D:status>",
        "<D:href>/a</D:href><D:status>HTTP/1.1 409 Conflict</D:status>",
        "<D:href>/423</D:href><D:propstat><D:prop><D:x>423</D:x></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>",
        "<D:href>/a</D:href><D:status>423</D:status>",
    ],
)
def test_a_multistatus_without_a_locked_member_is_none(inner):
    body = f'<D:multistatus xmlns:D="DAV:"><D:response>{inner}</D:response></D:multistatus>'
    assert read_locked((207, {}, body, "https://files.example/a")) is None
    assert read_locked((424, {}, body, "https://files.example/a")) is None


@pytest.mark.parametrize(
    "href, resource",
    [
        ("/dav/plans/", "/dav/plans/"),
        ("https://files.example:8443/dav/plans/", "/dav/plans/"),
        ("https://FILES.example:8443/dav/plans/", "/dav/plans/"),
        ("https://evil:pw@files.example:8443/dav/plans/", "/dav/plans/"),
        ("plans/plan.odt", "/dav/plans/plan.odt"),
        ("plans", "/dav/plans"),
        # What is not of the server that was asked is never taken, nor what is no URL: what was asked for is what is locked.
        ("https://evil.example/dav/plans/", "/dav/plans/plan.odt"),
        ("http://files.example:8443/dav/plans/", "/dav/plans/plan.odt"),
        ("https://files.example/dav/plans/", "/dav/plans/plan.odt"),
        ("//evil.example/dav/", "/dav/plans/plan.odt"),
        ("\\\\evil.example/", "/dav/plans/plan.odt"),
        ("file:///etc/passwd", "/dav/plans/plan.odt"),
        ("javascript:alert(1)", "/dav/plans/plan.odt"),
        ("https://[::1/", "/dav/plans/plan.odt"),
        ("https://files.example:99999999/", "/dav/plans/plan.odt"),
        ("elsewhere/plan.odt", "/dav/plans/plan.odt"),
        ("/" + "a" * 5000, "/dav/plans/plan.odt"),
        ("/a\u202eb", "/dav/plans/plan.odt"),
        ("", "/dav/plans/plan.odt"),
    ],
)
def test_only_urls_of_the_server_that_was_asked_are_taken(href, resource):
    details = dav(f"<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>")
    assert details.resource == resource
    assert all(url.startswith("https://files.example:8443/") for url in details.candidates)
    assert "evil" not in repr(details)


def test_where_the_lock_may_be_found_the_likeliest_first():
    details = dav("<D:no-conflicting-lock><D:href>/dav/</D:href></D:no-conflicting-lock>")
    assert details.candidates == (
        "https://files.example:8443/dav/",
        "https://files.example:8443/dav/plans/plan.odt?x=1",
        "https://files.example:8443/dav/plans/",
    )


@pytest.mark.parametrize(
    "own", ["7Hq2", "/dav/plans/plan.odt", "/dav/plans/plan.odt/", "https://files.example:8443/dav/plans/plan.odt"]
)
def test_a_lock_of_one_s_own_in_the_way_is_told_from_another_s(own):
    response = answered(make_lock(), accept="application/json")
    details = read(response, own={own})
    assert details.kind is LockedKind.MINE_WITHOUT_TOKEN
    assert "by you, but the token was not sent" in str(LockedError(details))
    assert read(response, own={"other"}).kind is LockedKind.HELD_BY_OTHER


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("999999999999", MAX_RETRY_AFTER),
        ("9" * 5000, None),
        ("Sat, 21 Nov 2026 10:12:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 21 Nov 2999 10:12:30 GMT", MAX_RETRY_AFTER),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_within_reason(value, seconds):
    assert read_locked((423, {**DATE, "Retry-After": value}, b"", URL)).retry_after == seconds


def test_a_retry_after_that_is_a_date_needs_the_server_s_clock():
    assert read_locked((423, {"Retry-After": "Sat, 21 Nov 2026 10:12:30 GMT"}, b"", URL)).retry_after is None


def test_a_423_of_which_nothing_else_is_known_is_locked_all_the_same():
    details = read_locked((423, None, None, ""))
    assert (details.kind, details.resource, details.locks) == (LockedKind.UNKNOWN, "", ())
    assert str(LockedError(details)) == "The resource is locked"


@pytest.mark.parametrize("response", [(200, {}, b"", URL), (404, {}, b"Locked", URL), (207, {}, b"<", URL)])
def test_other_answers_are_none_and_raise_nothing(response):
    assert read_locked(response) is None
    raise_for_locked(response)


def test_what_has_no_status_is_the_caller_s_mistake():
    with pytest.raises(TypeError, match="str is not a response"):
        read_locked("423 Locked")
