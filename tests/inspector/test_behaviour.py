"""What caches, clients and people will make of a response: held against the programs themselves where they can be run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from threading import Thread

import httpx
import httpx_retries
import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import InvalidHeader

from holdfast.inspector.behaviour import Topic, behaviour
from holdfast.inspector.inspected import Inspected
from tests.inspector.finding import DATE, JSON, MINUTE, NOW, PROBLEM, TEXT, XML, exchange

METHODS = ["GET", "PUT", "DELETE", "POST", "PATCH", "LOCK", "PROPFIND", "MOVE"]
ERRORS = [400, 404, 408, 413, 423, 425, 429, 500, 502, 503, 504, 507]


def said(*fields, **values):
    """The sentences by subject; of two about the same, the last."""
    return {found.subject: found.sentence for found in behaviour(Inspected(exchange(*fields, **values), NOW))}


@pytest.mark.parametrize("retry_after", [None, "5"])
def test_what_is_said_of_urllib3_is_what_it_does(retry_after):
    fields = [("Retry-After", retry_after)] if retry_after else []
    for method, status in product(METHODS, ERRORS):
        sentence = said(*fields, method=method, status=status)["urllib3"]
        does = urllib3.Retry(total=3).is_retry(method, status, has_retry_after=bool(retry_after))
        assert does is ("does not repeat" not in sentence), (method, status)
        forced = urllib3.Retry(total=3, status_forcelist=[status]).is_retry(method, status)
        assert forced is ("unless allowed_methods lists it" not in sentence), (method, status)


@pytest.mark.parametrize("value", ["soon", "1.5", "Sat, 21 Nov 2026 10:00:30 GMT", "5"])
def test_a_retry_after_that_urllib3_cannot_read_makes_it_raise(value):
    raises = "raises InvalidHeader" in said(("Retry-After", value), method="GET", status=503)["urllib3"]
    try:
        urllib3.Retry().parse_retry_after(value)
    except InvalidHeader:
        assert raises
    else:
        assert not raises


def test_what_is_said_of_httpx_retries_is_what_it_does():
    retry = httpx_retries.Retry(total=3)
    for method, status in product(METHODS, ERRORS):
        does = retry.is_retryable_method(method) and retry.is_retryable_status_code(status)
        said_so = "does not repeat" not in said(method=method, status=status)["httpx-retries"]
        assert does is said_so, (method, status)


class Refusing(ThreadingHTTPServer):
    """Answers each GET with the status that its path names, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        self.hits: list[int] = []
        super().__init__(("127.0.0.1", 0), _Refusal)


class _Refusal(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path[1:4])
        self.server.hits.append(status)
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Refusing]:
    with Refusing() as refusing:
        thread = Thread(target=refusing.serve_forever)
        thread.start()
        yield refusing
        refusing.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [423, 503])
def test_requests_and_httpx_return_the_answer_once(server, status):
    url = f"http://127.0.0.1:{server.server_port}/{status}"
    for get in (requests.get, httpx.get):
        assert get(url).status_code == status
    assert server.hits == [status, status]
    assert "as it is, once" in said(method="GET", status=status)["requests"]
    assert "as it is, once" in said(method="GET", status=status)["httpx"]


@pytest.mark.process
@pytest.mark.tool("curl")
def test_what_is_said_of_curl_is_what_it_does(server):
    """Its shortest pause is a second, so it repeats two statuses here, side by side with those that it does not."""
    urls = [f"http://127.0.0.1:{server.server_port}/{status}" for status in (404, 409, 423, 425, 503, 507)]
    for url in urls:
        subprocess.run(["curl", "-s", "--retry", "1", "--retry-delay", "1", url], check=False, timeout=60)
    repeated = {status for status in server.hits if server.hits.count(status) == 2}
    claimed = {
        status for status in server.hits if said(method="GET", status=status)["curl --retry"].startswith("It repeats")
    }
    assert repeated == claimed == {503}


@pytest.mark.parametrize(
    "fields, values, shared, private",
    [
        ([], {}, "may not keep", "may not keep"),
        ([("Cache-Control", "max-age=60")], {}, "for 60 s", "for 60 s"),
        ([("Cache-Control", "max-age=60, s-maxage=5")], {}, "for 5 s", "for 60 s"),
        ([("Cache-Control", "private, max-age=60")], {}, "may not keep", "for 60 s"),
        ([("Cache-Control", 'private="x", max-age=60')], {}, "for 60 s", "for 60 s"),
        ([("Cache-Control", "no-store, max-age=60")], {}, "may not keep", "may not keep"),
        ([("Cache-Control", "no-cache, max-age=60")], {}, "must ask", "must ask"),
        ([("Cache-Control", "max-age=60"), ("Vary", "*")], {}, "must ask", "must ask"),
        ([("Cache-Control", "max-age=x")], {}, "must ask", "must ask"),
        ([("Cache-Control", "public")], {}, "guesses", "guesses"),
        ([("Expires", "Sat, 21 Nov 2026 10:01:00 GMT")], {}, "for 60 s", "for 60 s"),
        ([("Expires", "Sat, 21 Nov 2026 10:01:00 GMT"), ("Cache-Control", "max-age=5")], {}, "for 5 s", "for 5 s"),
        ([("Cache-Control", "max-age=60")], {"asked": [("Authorization", "x")]}, "may not keep", "for 60 s"),
        ([("Cache-Control", "public, max-age=60")], {"asked": [("Authorization", "x")]}, "for 60 s", "for 60 s"),
        ([("Cache-Control", "max-age=60")], {"method": "PUT"}, "may not keep", "may not keep"),
        ([("Cache-Control", "max-age=60")], {"status": 429}, "may not keep", "may not keep"),
        ([], {"status": 404}, "guesses", "guesses"),
        ([], {"status": 204}, "guesses", "guesses"),
        ([], {"status": 403}, "may not keep", "may not keep"),
        ([], {"status": 304}, "may not keep", "may not keep"),
        ([("Cache-Control", "max-age=60")], {"status": 103}, "may not keep", "may not keep"),
    ],
)  # fmt: skip
def test_whether_a_cache_may_keep_it(fields, values, shared, private):
    """RFC 9111 sections 3 and 4.2."""
    found = said(DATE, *fields, **{"method": "GET", **values})
    assert shared in found["shared cache"]
    assert private in found["browser's cache"]


def test_what_is_assumed_of_a_request_that_is_not_known_is_said():
    assert "taken for the answer to a GET" in said(DATE, method="")["shared cache"]
    assert "taken" not in said(DATE, method="GET")["shared cache"]


def test_a_refused_write_leaves_stored_copies_alone():
    assert "any cache" in said(DATE, method="PUT")
    assert "any cache" not in said(DATE, method="PUT", status=204)
    assert "any cache" not in said(DATE, method="GET")


def test_members_that_were_refused_hide_in_a_207():
    member = (
        b'<D:multistatus xmlns:D="DAV:"><D:response><D:href>/dav/a</D:href><D:status>HTTP/1.1 423 Locked</D:status></D:response>'
        b"</D:multistatus>"
    )
    assert "success" in said(DATE, XML, status=207, method="DELETE", body=member)["HTTP libraries"]
    assert "HTTP libraries" not in said(
        DATE, XML, status=207, method="PROPFIND", body=b'<D:multistatus xmlns:D="DAV:"/>'
    )


def test_what_a_person_is_told_of_the_holder():
    assert "locked by Ada" in said(DATE, PROBLEM, body=MINUTE)["holdfast's client"]
    office = ("X-MSDAVEXT_ERROR", "589838; Resource%20already%20locked%20by%20Bob")
    assert "“Resource already locked by Bob”" in said(DATE, office)["Microsoft Office"]
    assert "not told who" in said(DATE)["Microsoft Office"]


def test_programs_for_files_are_not_spoken_of_where_an_api_answers():
    assert not {"Microsoft Office", "davfs2", "rclone", "macOS Finder"} & said(DATE, JSON, body=b"{}").keys()
    assert {"Microsoft Office", "davfs2", "rclone", "macOS Finder"} <= said(
        DATE, JSON, method="LOCK", body=b"{}"
    ).keys()


def test_a_refused_refresh_ends_libreoffices_refreshing():
    assert "for good" in said(DATE, method="LOCK", asked=[("If", "(<a:b>)")], status=412)["LibreOffice"]
    assert "lockdiscovery" in said(DATE, method="LOCK", sent=b"<lockinfo/>")["LibreOffice"]
    assert "LibreOffice" not in said(DATE, method="PUT")


def test_a_page_is_for_people():
    assert "page" in said(DATE, ("Content-Type", "text/html"), body=b"<p>locked", method="GET")["browser"]
    assert "XML as it stands" in said(DATE, XML, body=b"<D:error xmlns:D='DAV:'/>", method="GET")["browser"]
    assert "text" in said(DATE, TEXT, body=b"locked", method="GET")["browser"]
    assert "empty" in said(DATE, method="GET")["browser"]
    assert "browser" not in said(DATE, method="LOCK")


def test_every_statement_has_its_words_and_nearly_every_one_its_source():
    found = behaviour(Inspected(exchange(DATE, XML, method="LOCK"), NOW))
    assert {one.topic for one in found} == set(Topic)
    assert all(one.sentence.endswith(".") and one.subject for one in found)
    assert all(one.source.link.startswith("https://") for one in found if one.source is not None)
    assert {one.subject for one in found if one.source is None} <= {"Microsoft Office", "holdfast's client"}


@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(["Cache-Control", "Expires", "Date", "Retry-After", "Vary", "X-MSDAVEXT_ERROR"]),
            st.text(max_size=40),
        )
    ),
    status=st.integers(-1, 1000),
    method=st.text(max_size=8),
    body=st.binary(max_size=40),
)
def test_nothing_makes_it_fail_and_each_sentence_is_one_line(fields, status, method, body):
    for found in behaviour(Inspected(exchange(*fields, status=status, method=method, body=body), NOW)):
        assert len(found.sentence.splitlines()) == 1
        assert not set(found.sentence) & {"\x00", "\x1b", "\u202e"}
