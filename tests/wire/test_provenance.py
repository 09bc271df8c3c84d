"""Where a request came from, as its fields say."""

from __future__ import annotations

import pytest

from holdfast.wire.exchange import Headers, Request
from holdfast.wire.provenance import Provenance, is_from_script, is_over_https, provenance

HOST = "files.example:4230"


def request(scheme: str = "http", **fields: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": HOST} | fields).items()]
    return Request("POST", "/login", Headers(pairs), None, scheme=scheme)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, Provenance.UNSAID),
        ({"sec_fetch_site": "same-origin"}, Provenance.OWN_PAGE),
        ({"sec_fetch_site": "same-site"}, Provenance.ELSEWHERE),
        ({"sec_fetch_site": "cross-site"}, Provenance.ELSEWHERE),
        ({"sec_fetch_site": "none"}, Provenance.ELSEWHERE),
        ({"sec_fetch_site": "same-origin, cross-site"}, Provenance.ELSEWHERE),
        ({"sec_fetch_site": "cross-site", "origin": f"http://{HOST}"}, Provenance.ELSEWHERE),
        ({"origin": f"http://{HOST}"}, Provenance.OWN_PAGE),
        ({"origin": f"https://{HOST}"}, Provenance.OWN_PAGE),  # a proxy speaks HTTPS for us
        ({"origin": "HTTP://FILES.example:4230"}, Provenance.OWN_PAGE),
        ({"origin": "http://files.example"}, Provenance.ELSEWHERE),
        ({"origin": f"http://{HOST}.evil.example"}, Provenance.ELSEWHERE),
        ({"origin": f"http://evil.example/{HOST}"}, Provenance.ELSEWHERE),
        ({"origin": "null"}, Provenance.ELSEWHERE),
        ({"origin": ""}, Provenance.ELSEWHERE),
        ({"origin": "http://", "host": ""}, Provenance.ELSEWHERE),
    ],
)
def test_sec_fetch_site_decides_where_it_is_sent_else_origin(fields: dict[str, str], found: Provenance):
    assert provenance(request(**fields)) is found


def test_over_https_a_page_of_the_same_host_without_it_is_another_site():
    assert provenance(request("https", origin=f"http://{HOST}")) is Provenance.ELSEWHERE
    assert provenance(request("https", origin=f"https://{HOST}")) is Provenance.OWN_PAGE


def test_https_is_seen_at_the_connection_or_in_origin():
    assert is_over_https(request("https"))
    assert is_over_https(request(origin=f"https://{HOST}"))
    assert not is_over_https(request(origin="https://evil.example"))
    assert not is_over_https(request())


@pytest.mark.parametrize(
    ("fields", "is_script"),
    [
        ({}, False),
        ({"x_requested_with": "holdfast"}, True),
        ({"x_requested_with": "XMLHttpRequest"}, False),
        ({"sec_fetch_mode": "cors"}, True),
        ({"sec_fetch_mode": "same-origin"}, True),
        ({"sec_fetch_mode": "navigate"}, False),
        ({"accept": "text/event-stream"}, True),
        ({"accept": "text/html,*/*"}, False),
    ],
)
def test_a_script_is_known_by_what_it_says_or_its_browser_says_of_it(fields: dict[str, str], is_script: bool):
    assert is_from_script(request(**fields)) is is_script
