"""Rules about meaning (S): whether 423 is the answer, and what a refusal tells."""

from __future__ import annotations

import pytest

from holdfast.inspector.exchange import ReceivedResponse
from holdfast.inspector.notes import Level
from tests.inspector.finding import DATE, ENDLESS, JSON, MINUTE, PROBLEM, XML, found

TOKEN = "urn:uuid:00000000-0000-4000-8000-000000000000"


def error(inside: str) -> bytes:
    return f'<D:error xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">{inside}</D:error>'.encode()


SUBMITTED = error("<D:lock-token-submitted><D:href>/dav/report.odt</D:href></D:lock-token-submitted>")
OWNED = error(
    "<D:lock-token-submitted><D:href>/dav/report.odt</D:href></D:lock-token-submitted>"
    "<D:prop><D:lockdiscovery><D:activelock><D:owner>Ada's desk</D:owner><D:timeout>Second-60</D:timeout>"
    f"<D:locktoken><D:href>{TOKEN}</D:href></D:locktoken></D:activelock></D:lockdiscovery></D:prop>"
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PROPFIND"])
def test_reads_are_not_locked(method):
    assert found("S01", method=method)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "LOCK", "MOVE", "COPY", "POST", "PATCH", "PROPPATCH", "QUERY", ""])
def test_other_methods_may_write_and_those_not_known_are_not_accused(method):
    assert found("S01", method=method) == []


def test_a_read_that_is_refused_otherwise_is_none_of_its_business():
    assert found("S01", method="GET", status=403) == []


@pytest.mark.parametrize(
    "value, is_false",
    [
        ("(<DAV:no-lock>)", True),
        ('(<DAV:no-lock> ["etag"])', True),
        (f"(<DAV:no-lock>) (<{TOKEN}> <DAV:no-lock>)", True),
        ("<http://dav.example/a> (<DAV:no-lock>)", True),
        ("(Not <DAV:no-lock>)", False),
        (f"(<DAV:no-lock>) (<{TOKEN}>)", False),
        (f"(<{TOKEN}>)", False),  # whether it holds is known to the server alone
        ("(<DAV:no-lock>", False),  # cannot be read: that is 400, which is another matter
        ("", False),
    ],
)
def test_an_if_header_is_called_false_only_where_it_can_never_hold(value, is_false):
    assert bool(found("S02", asked=[("If", value)])) is is_false
    assert found("S02", asked=[("If", value)], status=412) == []


@pytest.mark.parametrize("status", [403, 409, 412, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        SUBMITTED,
        error("<D:no-conflicting-lock/>"),
        error(r"<s:exception>OCA\DAV\Connector\Sabre\Exception\FileLocked</s:exception><s:message>x</s:message>"),
    ],
)
def test_a_lock_that_is_told_under_another_status_is_found(status, body):
    assert found("S03", XML, status=status, body=body)


@pytest.mark.parametrize(
    "status, body",
    [
        (423, SUBMITTED),
        (424, SUBMITTED),
        (207, SUBMITTED),
        (409, error("<D:lock-token-matches-request-uri/>")),
        (403, error("<D:cannot-modify-protected-property/>")),
        (403, b"<D:error"),
        (403, b""),
    ],
)
def test_other_refusals_stay_what_they_are(status, body):
    assert found("S03", XML, status=status, body=body) == []


def test_a_423_that_asks_for_credentials_is_a_401():
    assert [finding.level for finding in found("S04", ("WWW-Authenticate", "Basic"))] == [None]


def test_a_holder_told_to_a_stranger_is_only_worth_knowing():
    assert [finding.level for finding in found("S04", DATE, PROBLEM, body=MINUTE)] == [Level.INFO]


@pytest.mark.parametrize("field", ["Authorization", "Cookie", "X-API-Key"])
def test_whoever_sent_credentials_is_no_stranger(field):
    assert found("S04", DATE, PROBLEM, body=MINUTE, asked=[(field, "x")]) == []


def test_without_the_request_nobody_is_called_a_stranger():
    assert found("S04", DATE, PROBLEM, body=MINUTE, method="") == []


def test_a_token_is_shown_only_to_those_who_did_not_have_it():
    assert found("S05", XML, body=OWNED)
    assert found("S05", XML, body=OWNED, asked=[("If", f"(<{TOKEN}>)")]) == []
    assert found("S05", XML, body=SUBMITTED) == []
    assert found("S05", XML, body=OWNED, status=207) == []  # lock discovery, where tokens belong


def test_a_urn_that_names_the_occurrence_is_no_token():
    assert found("S05", PROBLEM, body=b'{"status": 423, "instance": "%s"}' % TOKEN.encode()) == []


def test_the_owner_is_a_claim_unless_the_server_names_the_holder():
    assert "Ada" in found("S06", XML, body=OWNED)[0].summary
    assert found("S06", DATE, PROBLEM, body=MINUTE) == []
    assert found("S06", XML, body=SUBMITTED) == []


def test_what_is_not_told_is_listed():
    assert found("S07", XML, body=SUBMITTED)[0].summary == (
        "It is not told who holds the lock, since when, until when and how long to wait"
    )
    assert found("S07", DATE, PROBLEM, body=MINUTE) == []
    assert found("S07", DATE, PROBLEM, body=ENDLESS) == []  # that it has no end is an answer, too


def test_a_page_may_tell_it_in_any_words():
    assert (
        found("S07", ("Content-Type", "text/html"), body=b"<p>Ada has had it since nine; come back at ten.</p>") == []
    )


@pytest.mark.parametrize(
    "unknown", [{"method": "HEAD"}, {"body_is_known": False}, {"body_is_whole": False}, {"status": 403}]
)
def test_a_body_that_is_not_at_hand_is_not_missed(unknown):
    assert found("S07", **unknown) == []


@pytest.mark.parametrize(
    "words",
    [
        "The record was modified by another user",
        "version mismatch: expected 4, found 5",
        "optimistic_lock_failure",
        "Rate limit exceeded",
        "Account locked after too many failed login attempts",
        "The service is temporarily unavailable",
        "Down for maintenance",
    ],
)
def test_words_that_speak_of_something_else_are_found(words):
    assert found("S08", JSON, body=b'{"error": "%s"}' % words.encode())
    assert found("S08", JSON, body=b'{"error": "%s"}' % words.encode(), status=409) == []


@pytest.mark.parametrize(
    "words", ["The resource is locked", "File is locked by Ada", "", "The accounts table is locked"]
)
def test_words_about_a_lock_are_right(words):
    assert found("S08", JSON, body=b'{"error": "%s"}' % words.encode()) == []


def test_a_lock_for_maintenance_is_a_lock():
    body = MINUTE.replace(b'"since"', b'"reason": "down for maintenance", "since"')
    assert found("S08", DATE, PROBLEM, body=body) == []


def test_an_early_refusal_says_that_it_closes():
    assert found("S09", body_was_sent=False)
    assert found("S09", body_was_sent=False, status=413)
    assert found("S09", ("Connection", "keep-alive, Close"), body_was_sent=False) == []
    assert found("S09", body_was_sent=True) == []
    assert found("S09", body_was_sent=None) == []
    assert found("S09", body_was_sent=False, status=201) == []
    assert found("S09", body_was_sent=False, version="2") == []


def test_a_client_that_waits_for_100_is_refused_in_order():
    waiting = [("Expect", "100-continue")]
    assert found("S09", body_was_sent=False, asked=waiting) == []
    assert found("S09", body_was_sent=False, asked=waiting, interim=(ReceivedResponse(status=100),))
