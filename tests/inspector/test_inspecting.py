"""The report: every rule is asked, the worst comes first, the score says what it is made of, and nothing makes it fail."""

from __future__ import annotations

import codecs
import gzip
import unicodedata
import zlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.inspector import inspecting
from holdfast.inspector.exchange import Exchange, FramingFault, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.inspecting import PRICES, Generic, Report, findings_of, inspect
from holdfast.inspector.notes import Finding, Level, Rule, note_of, rfc
from holdfast.inspector.rules import RULES
from tests.inspector.examples import EXAMPLES, example, read_example

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)

ELEMENTS = (
    "D:error",
    "D:multistatus",
    "D:response",
    "D:propstat",
    "D:prop",
    "D:status",
    "D:href",
    "D:lock-token-submitted",
    "D:no-conflicting-lock",
    "D:lock-token-matches-request-uri",
    "D:lockdiscovery",
    "D:activelock",
    "X:own",
    "plain",
)
TEXTS = (
    "",
    "HTTP/1.1 423 Locked",
    "423",
    "HTTP/1.1 424 Failed Dependency",
    "/a b",
    "http://[",
    "//x",
    "/d/%zz",
    "é",
    "Second-5",
)
NAMES = (
    "Content-Type",
    "Content-Encoding",
    "Content-Length",
    "Transfer-Encoding",
    "Retry-After",
    "Date",
    "Cache-Control",
    "Expires",
    "Age",
    "Vary",
    "ETag",
    "Last-Modified",
    "Lock-Token",
    "DAV",
    "Allow",
    "Link",
    "Location",
    "Content-Range",
    "WWW-Authenticate",
    "Upgrade",
    "Connection",
    "Preference-Applied",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "X-Content-Type-Options",
    "X-MSDAVEXT_Error",
)
SENT_NAMES = (
    "Accept",
    "Accept-Language",
    "Authorization",
    "Depth",
    "Destination",
    "Expect",
    "Host",
    "If",
    "If-Match",
    "If-None-Match",
    "Lock-Token",
    "Origin",
    "Overwrite",
    "Prefer",
    "Range",
    "Timeout",
    "Upgrade",
)
VALUES = (
    "",
    "0",
    "5",
    "-1",
    "soon",
    "99999999999999999999999",
    "Sat, 21 Nov 2026 10:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "application/xml",
    'application/xml; charset="utf-16"',
    "text/xml; charset=nonsense",
    "application/problem+json",
    "application/json",
    "text/html",
    "multipart/byteranges; boundary=x",
    "no-store",
    "public, max-age=60",
    "max-age=99999999999999999999",
    "gzip",
    "deflate",
    "br",
    "*",
    "Accept",
    "http://other.example/x",
    "http://[::1",
    "bytes 0-5/9",
    "bytes=9999999999999999999-",
    "(<urn:uuid:0>) (Not <DAV:no-lock>)",
    '<urn:uuid:0>; rel="describedby"',
    "<",
    "\u00e9\x00",
)
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
MEMBERS = (
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "lock",
    "locks",
    "holder",
    "retry_after",
    "expires_at",
    "id",
    "é",
)

values = st.sampled_from(VALUES) | st.text(st.characters(max_codepoint=255), max_size=30)


def lines(names):
    found = st.tuples(st.sampled_from(names) | st.text(st.characters(max_codepoint=255), max_size=12), values)
    return st.lists(found, max_size=8).map(tuple)


def element(inner):
    made = st.tuples(st.sampled_from(ELEMENTS), st.lists(inner, max_size=4))
    return made.map(lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>")


trees = st.recursive(st.sampled_from(TEXTS), element, max_leaves=12)
documents = trees.map(lambda text: f'<D:error xmlns:D="DAV:" xmlns:X="urn:x">{text}</D:error>')
multistatuses = trees.map(
    lambda text: f'<D:multistatus xmlns:D="DAV:" xmlns:X="urn:x"><D:response>{text}</D:response></D:multistatus>'
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(VALUES + TEXTS) | st.text(max_size=20)
objects = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=10,
)
texts = documents | multistatuses | trees
bodies = (
    st.binary(max_size=60)
    | texts.map(str.encode)
    | texts.map(lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    | texts.map(lambda text: gzip.compress(text.encode()))
    | texts.map(lambda text: zlib.compress(text.encode())[:-3])
    | objects.map(lambda value: msgspec.json.encode(value, enc_hook=repr))
)
times = st.datetimes(timezones=st.just(UTC))
exchanges = st.builds(
    Exchange,
    request=st.none()
    | st.builds(
        SentRequest,
        method=st.sampled_from(
            ["GET", "HEAD", "PUT", "DELETE", "LOCK", "UNLOCK", "MOVE", "COPY", "PROPFIND", "OPTIONS", ""]
        )
        | st.text(max_size=5),
        url=st.sampled_from(["", "/a", "http://dav.example/d/a%20b", "https://dav.example:99999/", "http://[", "*"])
        | st.text(max_size=20),
        fields=lines(SENT_NAMES),
        body=bodies,
        version=st.sampled_from(["1.0", "1.1", "2", "3"]),
    ),
    response=st.builds(
        ReceivedResponse,
        status=st.sampled_from([423, 207]) | st.integers(100, 599),
        reason=st.text(max_size=10),
        fields=lines(NAMES),
        body=bodies,
        version=st.sampled_from(["1.0", "1.1", "2", "3"]),
        body_is_whole=st.booleans(),
        body_is_known=st.booleans(),
        faults=st.lists(st.builds(FramingFault, st.text(max_size=5), st.just("The length is wrong")), max_size=2).map(
            tuple
        ),
    ),
    received_at=st.none() | times,
    interim=st.lists(st.builds(ReceivedResponse, status=st.integers(100, 199), fields=lines(NAMES)), max_size=2).map(
        tuple
    ),
    answered_s=st.none() | st.floats(0, 1e6),
    body_was_sent=st.none() | st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(exchange=exchanges, now=times)
def test_no_rule_ever_raises(exchange, now):
    """Whatever a server sends; here nothing catches what a rule raises."""
    inspected = Inspected(exchange, now)
    for one in RULES.values():
        for finding in one.check(inspected):
            note = note_of(one, finding)
            assert note.summary
            assert len(note.summary) <= 600
            assert not {unicodedata.category(letter) for letter in note.summary + note.subject} & UNPRINTABLE


@settings(max_examples=40, deadline=None)
@given(exchange=exchanges, now=times)
def test_every_exchange_gets_a_report_that_can_be_written(exchange, now):
    report = inspect(exchange, now=now)
    assert report.failures == ()
    assert 0 <= report.score <= 100
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_no_rule_fails_at_any_example(folder):
    for path in folder.glob("*.http"):
        assert inspect(read_example(path.read_bytes())).failures == ()


def test_the_worst_comes_first():
    report = inspect(example("L04", "fires"), generic=False)
    order = [list(Level).index(note.level) for note in report.notes]
    assert order == sorted(order)
    assert report.worst is Level.BAD
    assert report.notes[0].rule == "L04"


def test_the_levels_are_counted():
    report = inspect(example("L04", "fires"), generic=False)
    assert report.counts == {level.value: sum(note.level is level for note in report.notes) for level in Level}
    assert set(report.counts) == {"bad", "warn", "info", "good"}


def test_the_score_is_100_less_what_each_rule_cost():
    report = inspect(example("L04", "fires"), generic=False)
    assert report.score == 100 - sum(cost.points for cost in report.costs)
    assert {cost.rule for cost in report.costs} == {note.rule for note in report.notes if note.level is not Level.GOOD}
    assert "25 for L04 (bad)" in report.explanation


def test_a_rule_costs_once_however_often_it_fires():
    hrefs = "".join(f"<D:href>/a b {n}</D:href>" for n in range(5))
    report = inspect(refused(f"<D:lock-token-submitted>{hrefs}</D:lock-token-submitted>"), generic=False)
    assert sum(note.rule == "L07" for note in report.notes) == 5
    assert [cost.points for cost in report.costs if cost.rule == "L07"] == [PRICES[Level.WARN]]


def test_a_score_does_not_fall_below_0():
    response = ReceivedResponse(
        status=423, fields=(("Content-Type", "application/problem+json"), *BAD_FIELDS), body=b"[]"
    )
    report = inspect(Exchange(request=SentRequest(method="PROPFIND", url="http://dav.example/"), response=response))
    assert report.score == max(0, 100 - sum(cost.points for cost in report.costs))
    assert report.score >= 0


BAD_FIELDS = (("Retry-After", "soon"), ("Lock-Token", "<urn:uuid:0>"), ("Cache-Control", "public, max-age=60"))


def test_hundreds_of_findings_of_one_rule_become_some_and_a_word_about_the_rest():
    hrefs = "".join(f"<D:href>/a b {n}</D:href>" for n in range(500))
    report = inspect(refused(f"<D:lock-token-submitted>{hrefs}</D:lock-token-submitted>"), generic=False)
    found = [note for note in report.notes if note.rule == "L07"]
    assert len(found) == 21
    assert "more" in found[-1].summary


def test_a_rule_that_fails_costs_its_own_notes_alone(monkeypatch):
    def broken(_):
        yield Finding("before")
        raise KeyError("gone")

    failing = Rule(id="X99", level=Level.BAD, title="t", why="w.", mend="m.", sources=(rfc(4918),), check=broken)
    monkeypatch.setattr(inspecting, "RULES", {**RULES, "X99": failing})
    report = inspect(example("L04", "fires"), generic=False)
    assert [failure.rule for failure in report.failures] == ["X99"]
    assert "KeyError" in report.failures[0].error
    assert any(note.rule == "L04" for note in report.notes)
    assert not any(note.rule == "X99" for note in report.notes)


def test_a_note_brings_why_how_to_mend_it_and_where_that_is_written():
    note = inspect(example("L04", "fires"), generic=False).notes[0]
    assert note.why == RULES["L04"].why
    assert note.mend == RULES["L04"].mend
    assert str(note.sources[0]) == "RFC 4918 section 16"
    assert note.sources[0].link == "https://www.rfc-editor.org/rfc/rfc4918.html#section-16"


def test_the_report_says_what_was_asked_and_answered():
    report = inspect(example("L04", "fires"), generic=False)
    assert (report.method, report.url, report.status, report.reason) == (
        "PUT",
        "http://dav.example/dav/report.odt",
        423,
        "Locked",
    )
    assert report.inspected_at == NOW


def test_a_response_alone_is_judged_by_what_it_shows():
    """Nothing is held against a server that takes a request to know."""
    response = example("L05", "fires").response
    report = inspect(Exchange(response=response, received_at=NOW), generic=False)
    assert (report.method, report.url) == ("", "")
    assert not any(note.rule in {"L05", "L13", "S01"} for note in report.notes)


def test_the_report_says_what_others_make_of_the_response():
    subjects = {said.subject for said in inspect(example("L04", "passes"), generic=False).behaviour}
    assert {"requests", "shared cache"} <= subjects


def test_httplints_notes_are_among_the_others_and_cost_less():
    fields = (("Content-Type", "text/plain"), ("Retry-After", "5"), ("Access-Control-Allow-Credentials", "yes, please"))
    response = ReceivedResponse(status=423, fields=fields, body=b"locked")
    report = inspect(Exchange(response=response, received_at=NOW))
    assert report.generic is Generic.PRESENT
    assert any(note.rule.startswith("httplint:") for note in report.notes)
    assert all(cost.points <= 10 for cost in report.costs if cost.rule.startswith("httplint:"))


def test_the_generic_notes_can_be_left_out():
    report = inspect(example("L04", "passes"), generic=False)
    assert report.generic is Generic.OFF
    assert not any(note.rule.startswith("httplint:") for note in report.notes)


def test_what_is_not_wrong_costs_nothing():
    report = inspect(example("G08", "fires"), now=NOW + timedelta(days=400), generic=False)
    assert not any(note.rule[0] in "LP" for note in report.notes)


def test_a_rule_repeats_nothing():
    hrefs = "<D:href>/a b</D:href>" * 3
    found = list(
        findings_of(RULES["L07"], Inspected(refused(f"<D:lock-token-submitted>{hrefs}</D:lock-token-submitted>")))
    )
    assert len(found) == 1


def refused(code):
    body = f'<D:error xmlns:D="DAV:">{code}</D:error>'.encode()
    response = ReceivedResponse(status=423, fields=(("Content-Type", "application/xml"),), body=body)
    return Exchange(
        request=SentRequest(method="PUT", url="http://dav.example/a%20b"), response=response, received_at=NOW
    )
