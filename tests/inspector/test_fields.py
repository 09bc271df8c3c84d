"""Rules about fields (H): what they find, and above all what they let pass."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.inspector.exchange import FramingFault
from holdfast.inspector.notes import Level
from tests.inspector.finding import DATE, ENDLESS, JSON, MINUTE, NOW, PROBLEM, found


@pytest.mark.parametrize("value", ["0", "30", "000120", "Sat, 21 Nov 2026 10:00:30 GMT"])
def test_retry_after_in_either_form_is_right(value):
    assert found("H01", ("Retry-After", value)) == []


@pytest.mark.parametrize(
    "value",
    ["soon", "", "-1", "1.5", "+30", "30 s", "\u0663\u0660", "Sat Nov 21 10:00:30 2026", "Saturday, 21-Nov-26 10:00:30 GMT",
     "Sun, 21 Nov 2026 10:00:30 GMT", "sat, 21 nov 2026 10:00:30 gmt", "Sat, 21 Nov 2026 10:00:30 UTC", "2026-11-21T10:00:30Z"],
)  # fmt: skip
def test_any_other_retry_after_is_wrong(value):
    assert len(found("H01", ("Retry-After", value))) == 1


def test_a_retry_after_that_comes_twice_is_wrong_once():
    assert len(found("H01", ("Retry-After", "30"), ("retry-after", "30"))) == 1


@pytest.mark.parametrize(
    "value, is_wrong",
    [
        ("0", True),
        ("1", False),
        ("Sat, 21 Nov 2026 09:00:00 GMT", True),
        ("Sat, 21 Nov 2026 10:00:10 GMT", False),
        ("soon", False),
    ],
)
def test_retry_after_must_lie_ahead(value, is_wrong):
    assert bool(found("H02", DATE, ("Retry-After", value))) is is_wrong


def test_retry_after_is_counted_from_the_servers_own_clock():
    """A server whose clock is a day behind still tells a right span."""
    yesterday = ("Date", "Fri, 20 Nov 2026 10:00:00 GMT")
    assert found("H02", yesterday, ("Retry-After", "Fri, 20 Nov 2026 10:00:30 GMT"), received_at=NOW) == []


@pytest.mark.parametrize("wait, is_wrong", [("60", False), ("85", False), ("120", True)])
def test_retry_after_does_not_go_far_beyond_the_end_of_the_lock(wait, is_wrong):
    assert bool(found("H02", DATE, PROBLEM, ("Retry-After", wait), body=MINUTE)) is is_wrong


def test_a_redirection_may_say_to_go_on_at_once():
    assert found("H02", ("Retry-After", "0"), status=301) == []


def test_a_lock_without_end_needs_no_retry_after():
    assert found("H03", DATE, PROBLEM, body=ENDLESS) == []
    assert "60 s" in found("H03", DATE, PROBLEM, body=MINUTE)[0].summary


@pytest.mark.parametrize(
    "status, is_wrong", [(200, True), (304, True), (423, True), (500, False), (503, False), (101, False)]
)
def test_date_is_asked_for_below_500(status, is_wrong):
    assert bool(found("H04", status=status)) is is_wrong


def test_a_date_that_is_off_is_found_only_where_the_time_of_receipt_is_known():
    late = datetime(2026, 11, 21, 10, 1, tzinfo=UTC)
    assert found("H04", DATE) == []
    assert found("H04", DATE, received_at=NOW.replace(second=4)) == []
    assert [finding.level for finding in found("H04", DATE, received_at=late)] == [Level.WARN]
    assert found("H04", DATE, ("Age", "60"), received_at=late) == []  # it was stored on the way


@pytest.mark.parametrize("fields", [[("Date", "now")], [DATE, DATE]])
def test_a_date_that_is_none_or_twice_is_wrong(fields):
    assert len(found("H04", *fields)) == 1


@pytest.mark.parametrize(
    "value",
    ["max-age=60", "public", "public, max-age=60", "s-maxage=1", "private, max-age=60", "must-revalidate, MAX-AGE=5"],
)
def test_freshness_on_a_423_to_a_get_is_bad(value):
    assert [finding.level for finding in found("H05", DATE, ("Cache-Control", value), method="GET")] == [None]


@pytest.mark.parametrize(
    "value", ["no-store", "no-store, max-age=60", "no-cache, max-age=60", "max-age=0", "private", "no-cache"]
)
def test_a_423_that_cannot_be_repeated_from_a_cache_is_right(value):
    assert found("H05", DATE, ("Cache-Control", value), method="GET") == []


def test_a_423_by_itself_is_not_kept():
    assert found("H05", DATE, method="GET") == []


def test_freshness_is_no_fault_where_no_cache_keeps_the_answer():
    assert found("H05", DATE, ("Cache-Control", "max-age=60")) == []


def test_without_the_request_freshness_is_only_worth_knowing():
    assert [finding.level for finding in found("H05", DATE, ("Cache-Control", "max-age=60"), method="")] == [Level.INFO]


def test_expires_is_freshness_too():
    assert found("H05", DATE, ("Expires", "Sat, 21 Nov 2026 10:05:00 GMT"), method="GET")
    assert found("H05", DATE, ("Expires", "0"), method="GET") == []


def test_a_holder_is_kept_out_of_caches():
    assert found("H06", DATE, PROBLEM, body=MINUTE, method="GET")
    assert found("H06", DATE, PROBLEM, ("Cache-Control", "private"), body=MINUTE, method="GET") == []
    assert found("H06", DATE, PROBLEM, body=MINUTE, method="LOCK") == []


def test_validators_are_fine_elsewhere():
    assert len(found("H08", ("ETag", '"1"'), ("Last-Modified", DATE[1]))) == 2
    assert found("H08", ("ETag", '"1"'), status=412) == []


def test_a_lock_token_goes_with_a_grant_and_with_what_office_asks_for():
    token = ("Lock-Token", "<urn:uuid:00000000-0000-4000-8000-000000000000>")
    assert found("H09", token, status=200, method="LOCK") == []
    assert found("H09", token, ("X-MSDAVEXTLockTimeout", "Second-180"), status=423) == []
    assert found("H09", token, status=412, method="LOCK")


def test_faults_that_the_reader_saw_are_told_as_they_are():
    fault = FramingFault("short-body", "The body ended after 3 of 10 bytes.")
    assert [finding.summary for finding in found("H10", faults=(fault,))] == [fault.detail.rstrip(".")]


@pytest.mark.parametrize(
    "length, is_wrong",
    [("6", False), ("7", False), ("8", False), ("5", True), ("60", True), ("six", True), ("6, 6", False)],
)
def test_a_length_is_wrong_beyond_what_pasting_does_to_line_breaks(length, is_wrong):
    assert bool(found("H10", ("Content-Length", length), body=b"locked")) is is_wrong
    assert bool(found("H10", ("Content-Length", length), body=b"locked\n")) is is_wrong


@pytest.mark.parametrize("state", [{"body_is_known": False}, {"body_is_whole": False}])
def test_the_length_of_a_body_that_is_not_at_hand_is_not_judged(state):
    assert found("H10", ("Content-Length", "600"), body=b"x", **state) == []


def test_a_body_that_was_decoded_has_another_length():
    assert found("H10", ("Content-Length", "600"), ("Content-Encoding", "gzip"), body=b"locked") == []


def test_head_has_the_length_and_no_body():
    assert found("H10", ("Content-Length", "600"), method="HEAD") == []
    assert found("H10", ("Content-Length", "6"), method="HEAD", body=b"locked")


def test_what_a_304_would_have_had_for_a_length_is_not_its_own():
    assert found("H10", ("Content-Length", "600"), status=304, method="GET") == []


ORIGIN = ("Access-Control-Allow-Origin", "*")


@pytest.mark.parametrize(
    "fields, is_wrong",
    [
        ([], False),  # no other origin may read anything
        ([ORIGIN], True),
        ([ORIGIN, ("Access-Control-Expose-Headers", "ETag, retry-after")], False),
        ([ORIGIN, ("Access-Control-Expose-Headers", "*")], False),
        ([ORIGIN, ("Access-Control-Expose-Headers", "*"), ("Access-Control-Allow-Credentials", "true")], True),
    ],
)
def test_retry_after_is_exposed(fields, is_wrong):
    assert bool(found("H11", ("Retry-After", "5"), *fields)) is is_wrong
    assert found("H11", *fields) == []


def test_an_echo_counts_only_where_it_is_one():
    body = b'{"path": "/dav/report 1.odt"}'
    url = "http://dav.example/dav/report%201.odt?x"
    assert found("H12", JSON, body=body, url=url)
    assert found("H12", JSON, body=b"{}", url=url) == []
    assert found("H12", JSON, ("X-Content-Type-Options", "NoSniff"), body=body, url=url) == []
    assert found("H12", JSON, body=body, url=url, method="") == []
    assert found("H12", JSON, body=b'"/"', url="http://dav.example/") == []
    assert found("H12", ("Content-Type", "application/xml"), body=body, url=url) == []


@pytest.mark.parametrize(
    "prefer, applied, answered_s, is_told",
    [
        ("wait=30", None, 0.1, True),
        ("wait=30", None, None, True),
        ("wait=30", None, 29.0, False),
        ("wait=30", "wait=5", 5.0, False),
        ("respond-async, wait=30", "Wait=30", 30.0, False),
        (None, "wait=30", 0.1, True),
        ("return=minimal", "return=minimal", 0.1, False),
        (None, None, 0.1, False),
    ],
)
def test_preferences_are_compared(prefer, applied, answered_s, is_told):
    asked = [("Prefer", prefer)] if prefer else []
    fields = [("Preference-Applied", applied)] if applied else []
    assert bool(found("H13", *fields, asked=asked, answered_s=answered_s)) is is_told


def test_without_the_request_nothing_is_said_of_preferences():
    assert found("H13", ("Preference-Applied", "wait=30"), method="") == []


@pytest.mark.parametrize(
    "dav, allow, is_told",
    [
        ("1, 2", "OPTIONS, GET, PUT, LOCK, UNLOCK, PROPFIND", False),
        ("1, 2", "OPTIONS, GET, PUT, PROPFIND", True),
        ("1, 2", None, False),
        ("1", "OPTIONS, GET, PROPFIND", False),
        ("1", "OPTIONS, GET, PROPFIND, LOCK, UNLOCK", True),
        ("2", "LOCK, UNLOCK", True),
        (None, "GET, PROPFIND", True),
        (None, "GET, HEAD", False),
    ],
)
def test_options_goes_together(dav, allow, is_told):
    fields = [(name, value) for name, value in (("DAV", dav), ("Allow", allow)) if value]
    assert bool(found("H14", *fields, status=200, method="OPTIONS")) is is_told
    assert found("H14", *fields, status=200, method="OPTIONS", asked=[("Access-Control-Request-Method", "PUT")]) == []
    assert found("H14", *fields, status=405, method="OPTIONS") == []
