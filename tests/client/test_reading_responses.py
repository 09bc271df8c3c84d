"""Responses of httpx, requests, urllib3 and urllib are read by their shape, to a bound, and no more than was asked for."""

from __future__ import annotations

import gzip
import http.client
import io
import urllib.error
import zlib

import httpx
import pytest
import requests
import urllib3
from urllib3._collections import HTTPHeaderDict

from holdfast.client import ClientResponse, Headers, LockedError, raise_for_locked, read_locked
from holdfast.client.exchange import MAX_BODY, MAX_MULTISTATUS, bounded_body

URL = "https://ada:pw@files.example/a?b=1#c"
BODY = b'{"ID": "9", "Who": "Ada", "Operation": "plan"}'


class Counting(httpx.SyncByteStream):
    """A body that counts what is taken of it."""

    def __init__(self, chunks):
        self.chunks = iter(chunks)
        self.taken = 0

    def __iter__(self):
        for chunk in self.chunks:
            self.taken += len(chunk)
            yield chunk


def of_httpx(status=423, **options):
    request = httpx.Request("MOVE", URL, headers={"Destination": "https://files.example/z", "Authorization": "secret"})
    return httpx.Response(status, request=request, **({"content": BODY} | options))


def of_requests(raw=None, status=423):
    response = requests.Response()
    response.status_code, response.url, response.request = status, URL, requests.Request("PUT", URL).prepare()
    response.headers["Retry-After"] = "3"
    response.raw = raw or of_urllib3(preload_content=False)
    return response


def of_urllib3(**options):
    body = options.pop("body", BODY)
    headers = HTTPHeaderDict({"Retry-After": "3"} | options.pop("headers", {}))
    return urllib3.HTTPResponse(io.BytesIO(body), headers, 423, request_url=URL, **options)


def read_before(response):
    assert response.content == BODY
    return response


@pytest.mark.parametrize(
    "make",
    [
        of_httpx,
        lambda: httpx.HTTPStatusError("x", request=of_httpx().request, response=of_httpx()),
        lambda: of_httpx(content=None, stream=httpx.ByteStream(BODY)),
        lambda: read_before(of_requests()),
        of_requests,
        lambda: requests.HTTPError(response=of_requests()),
        of_urllib3,
        lambda: of_urllib3(preload_content=False),
        lambda: urllib.error.HTTPError(URL, 423, "Locked", http.client.HTTPMessage(), io.BytesIO(BODY)),
        lambda: (423, {"Retry-After": "3"}, BODY, URL),
        lambda: (423, [(b"Retry-After", b"3")], BODY.decode(), URL),
        lambda: ClientResponse.of((423, {}, BODY, URL)),
    ],
)
def test_the_answer_is_read_of_any_library_s_response(make):
    response = make()
    with pytest.raises(LockedError) as caught:
        raise_for_locked(response)
    assert caught.value.holder == "Ada"
    assert caught.value.resource == "/a"
    assert caught.value.response is response
    close = getattr(response, "close", None)
    if close:
        close()


def test_what_is_kept_of_a_response_has_no_credentials():
    kept = ClientResponse.of(of_httpx())
    assert kept.url == "https://files.example/a?b=1"
    assert (kept.method, kept.destination) == ("MOVE", "https://files.example/z")
    assert "secret" not in repr(kept)


def test_a_response_without_a_request_has_no_url_and_is_read_all_the_same():
    assert read_locked(httpx.Response(423, content=BODY)).holder == "Ada"


def test_a_body_that_nobody_has_read_is_read_to_a_bound_and_for_a_423_alone():
    stream = Counting([b"x" * 1000] * 1000)
    assert read_locked(of_httpx(content=None, stream=stream)).locks == ()
    assert stream.taken <= MAX_BODY + 1000
    for status in (207, 409, 200):
        stream = Counting([BODY])
        response = of_httpx(status, content=None, stream=stream)
        assert read_locked(response, conflicts=True) is None
        assert stream.taken == 0
        assert response.read() == BODY, "it is still the caller's to read"


def test_a_long_body_is_kept_to_a_bound():
    assert len(ClientResponse.of((423, {}, b"x" * 10_000_000, URL)).body) == MAX_BODY
    assert len(ClientResponse.of((207, {}, b"x" * 10_000_000, URL)).body) == MAX_MULTISTATUS


@pytest.mark.parametrize(
    "encoding, packed", [("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY))], ids=["gzip", "deflate"]
)
def test_a_compressed_body_is_read(encoding, packed):
    response = of_httpx(content=None, stream=httpx.ByteStream(packed), headers={"Content-Encoding": encoding})
    assert read_locked(response).holder == "Ada"
    response = of_requests(of_urllib3(body=packed, headers={"Content-Encoding": encoding}, preload_content=False))
    response.headers["Content-Encoding"] = encoding
    assert read_locked(response).holder == "Ada"


def test_a_body_that_would_grow_beyond_the_bound_does_not():
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bounded_body([bomb], "gzip")) == MAX_BODY
    assert bounded_body([b"no gzip"], "gzip") == b""
    assert bounded_body([b"x"], "br") == b""


async def chunks():
    yield BODY


def test_an_asynchronous_body_that_nobody_has_awaited_is_left_alone():
    response = httpx.Response(423, content=chunks(), headers={"Retry-After": "3"})
    assert read_locked(response).retry_after == 3.0


class Awkward:
    """A response whose every attribute but one raises."""

    status_code = 423

    def __getattr__(self, name):
        raise RuntimeError(name)


class Text:
    """A response of odd types."""

    status = 423
    url = 5
    headers = (("a",), 7, (None, None), ("Retry-After", "4"), ("x" * 20, "y" * 100_000))
    content = "text"


def test_odd_objects_are_read_as_far_as_they_go():
    assert read_locked(Awkward()).resource == ""
    assert read_locked(Text()).retry_after == 4.0


def test_fields_are_found_in_any_case_and_their_values_are_not_shown():
    headers = Headers([("Link", "<a>"), ("LINK", "<b>"), ("X-Token", "secret")])
    assert headers["link"] == "<a>, <b>"
    assert "X-TOKEN" in headers
    assert (len(headers), dict(headers)["x-token"]) == (2, "secret")
    assert "secret" not in repr(headers)
    assert headers == Headers([("link", "<a>, <b>"), ("x-token", "secret")])
    assert hash(headers) == hash(Headers(list(headers.items())))
