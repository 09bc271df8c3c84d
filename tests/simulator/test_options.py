"""Each option does what it says, by query and by field, and each value that cannot be is refused in words."""

from __future__ import annotations

import socket
import time

import pytest
from lxml import etree

from holdfast.faces.simulator.lock_options import LOCK_OPTIONS
from holdfast.faces.simulator.options import OPTIONS
from holdfast.wire.rfc9110 import parse_http_date


def elapsed(asked, *args, **kwargs):
    started = time.monotonic()
    seen = asked(*args, **kwargs)
    return time.monotonic() - started, seen


@pytest.mark.parametrize("text", ["delay=300ms", "delay=0.3", "delay=0.3s", "delay=0.005m"])
def test_delay_comes_before_the_head(open_server, asked, text):
    took, seen = elapsed(asked, f"/api/status/503?{text}")
    assert seen.head.status == 503
    assert took >= 0.29
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(f"GET /api/status/200?{text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_body_delay_comes_between_head_and_body(open_server):
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(b"GET /api/status/200?body_delay=400ms HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        started = time.monotonic()
        head = connection.recv(65_536)
        assert head.endswith(b"\r\n\r\n")
        body = connection.recv(65_536)
        assert body.startswith(b"{")
        assert time.monotonic() - started >= 0.3


def test_dribble_sends_the_body_in_pieces_over_its_time(open_server):
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(
            b"GET /api/status/200?dribble=500ms HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        pieces = []
        started = time.monotonic()
        while piece := connection.recv(65_536):
            pieces.append(piece)
    assert time.monotonic() - started >= 0.45
    assert len(pieces) > 5
    assert b"".join(pieces).rstrip().endswith(b"}")


def test_a_head_is_delayed_too_and_has_no_body(asked):
    took, seen = elapsed(asked, "/api/status/200?delay=200ms&dribble=100ms", "HEAD")
    assert took >= 0.19
    assert seen.body == b""
    assert int(seen.head["Content-Length"]) > 100


def test_retry_after_is_seconds_a_date_or_none(asked):
    assert asked("/api/status/503?retry_after=120").head["Retry-After"] == "120"
    assert asked("/api/status/200?retry_after=0").head["Retry-After"] == "0"
    assert "Retry-After" not in asked("/api/status/503?retry_after=none").head
    said = asked("/api/status/503?retry_after=date:60").head
    span = parse_http_date(said["Retry-After"]) - parse_http_date(said["Date"])
    assert 58 <= span.total_seconds() <= 61
    near = said["Retry-After"]
    assert asked("/api/status/423", headers={"X-Simulate-Retry-After": near}).head["Retry-After"] == near


def test_header_adds_a_field_and_repeats_and_replaces(asked):
    head = asked("/api/status/405?header=Allow:+GET&header=X-Mine:+a&header=X-Mine:+b&header=X-Empty:").head
    assert head["Allow"] == "GET"
    assert head.repeated["x-mine"] == ["a", "b"]
    assert head["X-Empty"] == ""
    assert "X-Mine" in head["Access-Control-Expose-Headers"]
    cached = asked("/api/status/404?header=Cache-Control:+max-age%3D60&header=ETag:+%22a%22").head
    assert cached["Cache-Control"] == "max-age=60"
    assert cached["ETag"] == '"a"'
    assert asked("/api/status/200?header=Content-Type:text/csv;charset%3Dutf-8").head["Content-Type"]
    assert asked("/api/status/302?header=Location:/dav/x").head["Location"] == "/dav/x"


def test_a_field_in_a_field_is_had_by_its_name(asked):
    headers = {"X-Simulate-Header-Allow": "GET", "X-Simulate-Header": "Via: 1.1 a"}
    head = asked("/api/status/405", headers=headers).head
    assert head["Allow"] == "GET"
    assert head["Via"] == "1.1 a"


def test_omit_leaves_a_field_out(asked):
    assert "WWW-Authenticate" not in asked("/api/status/401?omit=WWW-Authenticate").head
    head = asked("/api/status/405?omit=allow&omit=Cache-Control").head
    assert "Allow" not in head
    assert "Cache-Control" not in head


FORMS = {
    "json": "application/json",
    "problem": "application/problem+json",
    "xml": "application/xml; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}


@pytest.mark.parametrize("code", [103, 200, 206, 207, 302, 404, 423, 424, 499, 503, 507])
@pytest.mark.parametrize("form", FORMS)
def test_body_chooses_the_form_whatever_accept_says(asked, form, code):
    seen = asked(f"/api/status/{code}?body={form}", headers={"Accept": "image/png"})
    assert seen.head["Content-Type"] == FORMS[form]
    if form == "json":
        assert seen.json["status"]["code"] == code
    elif form == "problem":
        assert seen.json["about"]["code"] == code
        assert seen.json["status"] == max(code, 200)
        assert seen.json["title"]
    elif form == "xml":
        root = etree.fromstring(seen.body)
        said = etree.tostring(root).decode()
        assert "simulated" in said
    elif form == "html":
        assert seen.body[:15].lower() == b"<!doctype html>"
        assert str(code).encode() in seen.body or code == 423
    else:
        assert seen.body.startswith(str(code).encode())


def test_body_none_is_no_body_and_no_type(asked):
    seen = asked("/api/status/423?body=none")
    assert seen.body == b""
    assert "content-type" not in seen.head
    assert seen.head["Content-Length"] == "0"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/problem+json", "problem"),
        ("application/json, application/problem+json", "problem"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/xml", "xml"),
        ("text/xml;q=0.3, text/plain;q=0.5", "text"),
        ("image/png", "json"),
        ("rubbish", "json"),
    ],
)
def test_accept_chooses_the_form(asked, accept, expected):
    assert asked("/api/status/404", headers={"Accept": accept}).head["Content-Type"] == FORMS[expected]


def test_size_fills_up_what_stays_readable(asked):
    for form in ("json", "problem", "xml", "html", "text"):
        seen = asked(f"/api/status/200?size=200000&body={form}")
        assert len(seen.body) == 200_000 == int(seen.head["Content-Length"])
        assert seen.body.endswith(b"    ")
        if form in {"json", "problem"}:
            assert seen.json["simulated"] is True
        elif form == "xml":
            etree.fromstring(seen.body)
    assert asked("/api/status/200?size=10").json["simulated"] is True
    dribbled = asked("/api/status/200?size=200000&dribble=100ms")
    assert len(dribbled.body) == 200_000


def test_options_in_fields_do_as_those_in_the_query_which_win(asked):
    head = asked("/api/status/503", headers={"X-Simulate-Retry-After": "9", "X-Simulate-Body": "xml"}).head
    assert head["Retry-After"] == "9"
    assert head["Content-Type"] == FORMS["xml"]
    both = asked("/api/status/503?retry_after=3", headers={"X-Simulate-Retry-After": "9"}).head
    assert both["Retry-After"] == "3"


@pytest.mark.parametrize("chosen", ["", "?header=Vary:+Origin", "?omit=Vary", "?header=Vary:&header=Vary:+Origin"])
def test_a_cache_cannot_give_what_fields_asked_for_to_those_who_sent_none(asked, chosen):
    sent = {
        "X-Simulate-Header-Cache-Control": "public, max-age=600",
        "X-Simulate-Random": "500:1",
        "X-Simulate-Body": "text",
    }
    head = asked(f"/api/status/200{chosen}", headers=sent).head
    assert (head.status, head["Cache-Control"]) == (500, "public, max-age=600")
    assert "vary" not in head.repeated
    varied = head["Vary"].split(", ")
    assert set(sent) <= set(varied)
    assert "" not in varied
    assert ("Origin" in varied) == ("Origin" in chosen)
    assert ("Accept" in varied) == (not chosen)


def test_fields_that_choose_vary_are_themselves_in_it(asked):
    for sent in ({"X-Simulate-Header-Vary": "Origin"}, {"X-Simulate-Omit": "Vary"}):
        assert set(sent) <= set(asked("/api/status/200", headers=sent).head["Vary"].split(", "))
    with_lock = asked("/api/status/423", headers={"X-Simulate-Lock": "varied"}).head
    assert with_lock["Vary"] == "Accept, X-Simulate-Lock"
    assert asked("/api/status/200?body=text").head["Vary"] == "Accept"
    assert "Vary" not in asked("/api/status/200?omit=Vary").head


REFUSED = [
    "delay=fast", "delay=-1", "delay=", "delay=6", "delay=99999999", "delay=1e3", "delay=3&body_delay=3", "delay=nan",
    "dribble=6s", "body_delay=5001ms", "delay=1&delay=2",
    "retry_after=soon", "retry_after=-5", "retry_after=99999999999", "retry_after=Sun,+22+Nov+1926+08:00:00+GMT",
    "header=novalue", "header=:x", "header=A%20B:+c", "header=" + "a" * 65 + ":+c", "header=A:+" + "b" * 2049,
    "header=A:+%C3%A4", "header=A:+%E2%82%AC", "header=A:+%7F", "header=A:+%00",
    "omit=X-Simulated", "omit=Content-Security-Policy", "omit=Content-Length", "omit=a+b", "omit=",
    "body=pdf", "body=", "body=none&size=5", "size=-1", "size=300001", "size=many", "size=", "size=99999999999999999999",
    "size=%C2%B2", "fault=everything", "fault=", "fault=mid-body&fault=mid-body",
    "seq=", "seq=42", "seq=600", "seq=099", "seq=423x0", "seq=423x10001", "seq=423,,200", "seq=423+200", "seq=a",
    "seq=" + ",".join(["200"] * 101), "seq=200&random=200:1",
    "random=", "random=200", "random=200:0", "random=200:-1", "random=200:a", "random=700:1", "random=200:nan",
    "random=" + ",".join(["200:1"] * 101), "seed=1", "seed=a+b&random=200:1", "key=a", "key=a&random=200:1",
    "seq=200&key=", "seq=200&key=a/b", "seq=200&key=" + "k" * 65, "seq=200&key=%C3%A4",
    "foo=1", "foo", "Delay=1", "%3Cscript%3E=1", "=1", "lock=a",
    "&".join(f"header=A{n}:+b" for n in range(65)), "header=A:+%FF",
]  # fmt: skip


@pytest.mark.parametrize("query", REFUSED)
def test_what_cannot_be_is_refused_with_what_can(asked, query):
    seen = asked(f"/api/status/200?{query}")
    assert seen.head.status == 400, seen.body
    assert seen.head["Content-Type"] == "application/problem+json"
    assert "X-Simulated" not in seen.head
    problem = seen.json
    assert problem["status"] == 400
    assert problem["detail"].endswith((".", "0.7.", "200."))
    assert set(problem["allowed"]) == {*OPTIONS, *LOCK_OPTIONS}


@pytest.mark.parametrize("name", ["X-Simulate-Foo", "X-Simulate-Delays", "X-Simulate-"])
def test_a_field_that_is_no_option_is_refused(asked, name):
    seen = asked("/api/status/200", headers={name: "1"})
    assert seen.head.status == 400
    assert "allowed" in seen.json


@pytest.mark.parametrize("target", ["099", "000", "600", "999", "42", "4230", "0423", "100000000000000000000"])
def test_a_code_that_is_none_is_refused_with_those_there_are(asked, target):
    seen = asked(f"/api/status/{target}")
    assert seen.head.status == 400
    assert "from 100 to 599" in seen.json["detail"]
    assert "X-Simulated" not in seen.head


@pytest.mark.parametrize(
    "target", ["abc", "423/", "423/x", "", "-423", "+423", "4%32", "%D9%A4%D9%A2%D9%A3", "locks/", "sequences/"]
)
def test_an_address_that_is_none_is_not_found(asked, target):
    seen = asked(f"/api/status/{target}")
    assert seen.head.status == 404
    assert seen.head["Content-Type"] == "application/problem+json"


def test_the_address_above_tells_what_there_is(asked):
    told = asked("/api/status").json
    assert set(told["options"]) == {*OPTIONS, *LOCK_OPTIONS}
    assert asked("/api/status", "PUT").head.status == 405
