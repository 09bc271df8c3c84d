"""Texts that people have at hand become exchanges, and a fault is told only where the response had it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.inspector.exchange import Exchange, SentRequest
from holdfast.inspector.framing import FAULTS
from holdfast.inspector.reading import MOST_RESPONSES, ReadingError, read_exchange, read_exchanges

LOCKED = b"HTTP/1.1 423 Locked\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nlocked"


def codes(exchange: Exchange) -> list[str]:
    return [each.code for each in exchange.response.faults]


def test_a_dump_of_curl_is_read_with_its_fields_and_body():
    response = read_exchange(LOCKED).response
    assert (response.status, response.reason, response.version) == (423, "Locked", "1.1")
    assert response.fields == (("Content-Type", "text/plain"), ("Content-Length", "6"))
    assert (response.body, response.body_is_known, response.body_is_whole, response.faults) == (
        b"locked",
        True,
        True,
        (),
    )


@pytest.mark.parametrize(
    "start", ["HTTP/2 423", "HTTP/2 423 ", "HTTP/3 423", "HTTP/2.0 423 Locked", "HTTP/1.0 423 Nope"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_version_and_line_end_is_known(start: str, end: str):
    text = end.join([start, "content-type: text/plain", "", "locked"])
    response = read_exchange(text.encode()).response
    assert (response.status, response.body, response.faults) == (423, b"locked", ())
    assert (
        response.version
        == {"HTTP/1.0": "1.0", "HTTP/2": "2", "HTTP/2.0": "2", "HTTP/3": "3"}[start.split(maxsplit=1)[0]]
    )


def test_the_last_of_several_responses_is_judged_and_all_can_be_had():
    redirect = b"HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 3\r\n\r\nHi\n"
    proxy = b"HTTP/1.1 200 Connection established\r\n\r\n"
    found = read_exchanges(proxy + redirect + b"HTTP/1.1 100 Continue\r\n\r\n" + LOCKED)
    assert [each.response.status for each in found] == [200, 301, 423]
    assert found[1].response.body == b"Hi\n"
    assert [each.status for each in found[2].interim] == [100]
    assert read_exchange(redirect + LOCKED).response.body == b"locked"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_interim_responses_stand_with_the_one_that_follows(end: bytes):
    text = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 423 Locked\r\n\r\n".replace(
        b"\r\n", end
    )
    found = read_exchange(text)
    assert [each.field("link") for each in found.interim] == ["</a>; rel=preload"]
    assert found.response.status == 423


def test_switching_protocols_ends_it():
    assert read_exchange(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").response.status == 101


def test_what_stands_in_a_body_begins_no_response():
    body = b"<D:multistatus xmlns:D='DAV:'><D:status>\nHTTP/1.1 423 Locked\n</D:status></D:multistatus>\n"
    head = b"HTTP/1.1 207 Multi-Status\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    [only] = read_exchanges(head + body)
    assert only.response.body == body


def test_a_dump_has_its_chunks_taken_away_and_a_capture_has_not():
    head = b"HTTP/1.1 423 Locked\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read_exchange(head + b"locked").response.body == b"locked"
    captured = read_exchange(head + b"3\r\nloc\r\n3;a=b\r\nked\r\n0\r\nX: y\r\n\r\n")
    assert (captured.response.body, captured.response.body_is_whole, codes(captured)) == (b"locked", True, [])
    assert [each.response.status for each in read_exchanges(head + b"1\r\nx\r\n0\r\n\r\n" + LOCKED)] == [423, 423]


@pytest.mark.parametrize(
    ("rest", "code", "body"),
    [
        (b"3\r\nloc\r\nzz\r\nked\r\n0\r\n\r\n", "chunk-malformed", b"loc"),
        (b"3\r\nloc\r\n3\r\nked!\r\n0\r\n\r\n", "chunk-malformed", b"locked"),
        (b"3\r\nloc\r\n6\r\nke", "chunked-cut", b"locke"),
        (b"3\r\nloc\r\n", "chunked-cut", b"loc"),
    ],
)
def test_a_capture_with_malformed_chunks_is_told(rest: bytes, code: str, body: bytes):
    found = read_exchange(b"HTTP/1.1 423 Locked\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    assert codes(found) == [code]
    assert (found.response.body, found.response.body_is_whole) == (body, False)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", ["content-length-and-transfer-encoding"]),
        ("Content-Length: 6\r\nContent-Length: 6", ["content-length-repeated"]),
        ("Content-Length: 6, 7", ["content-length-repeated"]),
        ("Content-Length: six", ["content-length-invalid"]),
        ("Content-Length: -6", ["content-length-invalid"]),
        ("Content-Length: ²", ["content-length-invalid"]),
        ("Transfer-Encoding: gzip", ["transfer-encoding-unknown"]),
        ("Content-Length: 60", ["content-length-wrong"]),
        ("Content-Length: 2", ["excess-data"]),
        ("X-A: b\r\n c", ["obs-fold"]),
        ("X-A : b", ["space-before-colon"]),
        ("X-A: b\rc", ["bare-cr"]),
        ("no field", ["field-malformed"]),
    ],
)
def test_what_is_wrong_with_a_head_is_told(head: str, expected: list[str]):
    found = read_exchange(f"HTTP/1.1 423 Locked\r\n{head}\r\n\r\nlocked".encode("latin-1"))
    assert codes(found) == expected
    assert set(expected) <= set(FAULTS)


def test_a_folded_field_is_one_value():
    found = read_exchange(b"HTTP/1.1 423 Locked\r\nLink: </a>,\r\n\t</b>\r\n\r\n")
    assert found.response.field("link") == "</a>, </b>"


def test_a_length_is_not_judged_where_an_editor_may_have_changed_the_text():
    assert codes(read_exchange(LOCKED.replace(b"\r\n", b"\n") + b"\n")) == []
    assert codes(read_exchange(LOCKED.replace(b"\r\n", b"\n").replace(b"6", b"9"))) == []
    assert codes(read_exchange(LOCKED + b"\r\n\n")) == []  # a shell's prompt has put a line after it


def test_a_length_is_not_judged_where_curl_has_decoded_the_content():
    head = b"HTTP/1.1 423 Locked\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n"
    assert codes(read_exchange(head + b"decoded, and longer")) == []
    assert codes(read_exchange(head + b"\x1f\x8b and longer")) == ["excess-data"]


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        (b"HTTP/1.1 423 Locked\r\nContent-Length: 6\r\n\r\n", False),
        (b"HTTP/2 423\r\ncontent-type: text/html\r\n\r\n", False),
        (b"HTTP/2 423\r\ncontent-type: text/html", False),
        (b"HTTP/1.1 423 Locked\r\nContent-Length: 0\r\nContent-Type: text/html\r\n\r\n", True),
        (b"HTTP/1.1 423 Locked\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n", True),
    ],
)
def test_a_head_alone_says_that_its_body_is_not_known(text: bytes, is_known: bool):
    response = read_exchange(text).response
    assert (response.body_is_known, response.faults) == (is_known, ())


def test_to_head_there_is_no_body_and_one_that_comes_is_told():
    head = LOCKED.removesuffix(b"locked")
    request = SentRequest(method="HEAD")
    assert read_exchange(head, request).response.body_is_known
    assert codes(read_exchange(head, request)) == []
    assert codes(read_exchange(LOCKED, request)) == ["body-not-allowed"]
    assert codes(read_exchange(b"HTTP/1.1 204 No Content\r\n\r\nwhy?")) == ["body-not-allowed"]


def test_the_request_above_a_response_is_read():
    text = b"PUT /dav/plan.odt HTTP/1.1\nHost: dav.example.org\nIf: (<urn:x>)\n\nnew\n\n" + LOCKED
    found = read_exchange(text, SentRequest(method="GET"))
    assert found.request is not None
    assert (found.method, found.request.url) == ("PUT", "http://dav.example.org/dav/plan.odt")
    assert (found.requested("if"), found.request.body) == ("(<urn:x>)", b"new\n")


VERBOSE = b"""\
  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current
                                 Dload  Upload   Total   Spent    Left  Speed
\r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0*   Trying 127.0.0.1:4230...
* Connected to localhost (127.0.0.1) port 4230 (#0)
> PUT /dav/plan.odt HTTP/1.1\r
> Host: localhost:4230\r
> Expect: 100-continue\r
> \r
} [3 bytes data]
< HTTP/1.1 100 Continue\r
< \r
* We are completely uploaded and fine
< HTTP/1.1 423 Locked\r
< Content-Type: application/xml\r
< Content-Length: 44\r
< \r
{ [44 bytes data]
\r100   693  100   692  100     1  94587    136 --:--:-- --:--:-- --:--:-- 99000
<?xml version="1.0"?>
<error xmlns="DAV:"/>
* Connection #0 to host localhost left intact
"""


def test_what_curl_v_shows_is_taken_apart():
    found = read_exchange(VERBOSE)
    assert found.request is not None
    assert (found.method, found.request.url) == ("PUT", "http://localhost:4230/dav/plan.odt")
    assert [each.status for each in found.interim] == [100]
    assert found.response.status == 423
    assert found.response.body == b'<?xml version="1.0"?>\n<error xmlns="DAV:"/>\n'
    assert found.response.faults == ()


def test_curl_v_with_i_and_a_body_without_a_line_end():
    text = (
        b"* SSL connection using TLSv1.3\n> GET /a HTTP/2\r\n> Host: h\r\n> \r\n< HTTP/2 423 \r\nHTTP/2 423 \r\n< a: b\r\na: b\r\n"
        b"< \r\n\r\n{ [6 bytes data]\nlocked* Connection #0 to host h left intact\n"
    )
    found = read_exchange(text)
    assert found.request is not None
    assert (found.request.url, found.request.version) == ("https://h/a", "2")
    assert (found.response.fields, found.response.body) == ((("a", "b"),), b"locked")


@pytest.mark.parametrize("text", [b"", b"  \n", b"<html>locked</html>", b'{"status": 423}', b"HTTP/1.1 9 x\r\n\r\n"])
def test_a_text_without_a_response_is_refused_with_a_hint(text: bytes):
    with pytest.raises(ReadingError, match="curl -i"):
        read_exchanges(text)


def test_an_interim_response_alone_is_refused():
    with pytest.raises(ReadingError, match="interim"):
        read_exchanges(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_too_many_responses_are_refused():
    with pytest.raises(ReadingError, match="more than"):
        read_exchanges(b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n" * (MOST_RESPONSES + 1))


@given(
    st.binary(max_size=300),
    st.sampled_from([LOCKED, VERBOSE, b"HTTP/1.1 423 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n"]),
)
def test_no_text_is_an_accident(noise: bytes, text: bytes):
    for attempt in (noise, text + noise, text[: len(noise)], text[: len(noise)] + noise + text):
        try:
            found = read_exchanges(attempt)
        except ReadingError:
            continue
        assert all(each.code in FAULTS for exchange in found for each in exchange.response.faults)
