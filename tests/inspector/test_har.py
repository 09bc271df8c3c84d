"""HAR files, as browsers and proxies write them, become exchanges, with whatever is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.inspector.har import MOST_ENTRIES, is_har, read_har
from holdfast.inspector.reading import ReadingError


def har(*entries: Any) -> bytes:
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "t", "version": "1"}, "entries": list(entries)}}
    ).encode()


def entry(**response: Any) -> dict[str, Any]:
    return {
        "startedDateTime": "2026-03-01T10:00:00.000+01:00",
        "request": {
            "method": "PUT",
            "url": "https://h/plan.odt",
            "httpVersion": "HTTP/2.0",
            "headers": [{"name": ":authority", "value": "h"}, {"name": "if", "value": "(<urn:x>)"}],
            "postData": {"mimeType": "text/plain", "text": "neü"},
        },
        "response": {
            "status": 423,
            "statusText": "Locked",
            "httpVersion": "h2",
            "headers": [{"name": "content-type", "value": "text/plain"}, {"name": "link", "value": "<a>\n<b>"}],
            "content": {"size": 6, "mimeType": "text/plain", "text": "locked"},
        }
        | response,
        "timings": {"blocked": -1, "dns": 500, "connect": 400, "ssl": 100, "send": 50, "wait": 50, "receive": 9},
    }


def test_an_entry_becomes_an_exchange():
    [found] = read_har(har(entry()))
    assert found.request is not None
    assert (found.method, found.request.url, found.request.version) == ("PUT", "https://h/plan.odt", "2")
    assert (found.request.fields, found.request.body) == ((("if", "(<urn:x>)"),), "neü".encode())
    response = found.response
    assert (response.status, response.reason, response.version, response.body) == (423, "Locked", "2", b"locked")
    assert response.values("link") == ["<a>", "<b>"]
    assert (found.answered_s, found.received_at) == (1.0, datetime(2026, 3, 1, 9, 0, 1, tzinfo=UTC))


def test_content_in_base64_is_decoded_and_what_is_none_is_not_known():
    [found] = read_har(har(entry(content={"text": "bG9ja2Vk", "encoding": "base64"})))
    assert found.response.body == b"locked"
    [found] = read_har(har(entry(content={"text": "a", "encoding": "base64"})))
    assert (found.response.body, found.response.body_is_known) == (b"", False)


@pytest.mark.parametrize(
    ("response", "is_known"),
    [
        ({"content": {"size": 812, "mimeType": "x"}}, False),
        ({"content": {}}, False),
        ({"content": {"size": 0}}, True),
        ({"content": None}, False),
        ({"status": 204, "content": {}}, True),
    ],
)
def test_a_body_that_was_not_kept_is_not_taken_for_an_empty_one(response: dict[str, Any], is_known: bool):
    [found] = read_har(har(entry(**response)))
    assert (found.response.body, found.response.body_is_known) == (b"", is_known)


def test_what_is_missing_or_not_as_it_should_be_costs_no_more_than_its_entry():
    bare = {"request": {"method": "GET", "url": "http://h/"}, "response": {"status": 423}}
    odd = [
        {},
        {"response": {"status": 0}},
        {"response": {"status": "x"}},
        7,
        None,
        entry(headers=3),
        {"response": {"status": 423}},
    ]
    found = read_har(har(*odd, bare, entry()))
    assert [(each.method, each.received_at is None) for each in found] == [("", True), ("GET", True), ("PUT", False)]


def test_a_byte_order_mark_is_no_matter():
    assert is_har(b"\xef\xbb\xbf" + har())
    assert len(read_har(b"\xef\xbb\xbf" + har(entry()))) == 1


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"log": 3}', b"HTTP/1.1 423 Locked\r\n\r\n", b"[" * 100_000, b"\xff{}"]
)
def test_what_is_no_har_file_is_refused(text: bytes):
    assert not is_har(text) or text == b'{"log": 3}'
    with pytest.raises(ReadingError, match="no HAR file"):
        read_har(text)


def test_one_without_responses_or_with_too_many_entries_is_refused():
    with pytest.raises(ReadingError, match="no response"):
        read_har(har({"response": {"status": 0}}))
    with pytest.raises(ReadingError, match="at most"):
        read_har(har(*[{}] * (MOST_ENTRIES + 1)))
