"""The session's cookie: which one is believed, and what the browser is told of it."""

from __future__ import annotations

import pytest

from holdfast.access.cookies import clear_cookies, session_cookie, set_cookie
from holdfast.wire.exchange import Headers, Request


def request(scheme: str, *fields: str) -> Request:
    return Request("GET", "/", Headers([(b"cookie", field.encode()) for field in fields]), None, scheme=scheme)


@pytest.mark.parametrize(
    ("scheme", "fields", "found"),
    [
        ("http", (), None),
        ("http", ("a=b",), None),
        ("http", ("holdfast_session=x",), "x"),
        ("http", ("a=b; holdfast_session=x; c=d",), "x"),
        ("http", ("holdfast_session=x; holdfast_session=y",), "x"),
        ("http", ("a=b", "holdfast_session=x"), "x"),
        ("http", ("holdfast_session=x; __Host-holdfast_session=y",), "y"),  # a proxy speaks HTTPS
        ("http", ("my_holdfast_session=x",), None),
        ("http", ('a="holdfast_session=x"',), None),
        ("https", ("__Host-holdfast_session=y",), "y"),
        ("https", ("holdfast_session=x",), None),
    ],
)
def test_the_cookie_is_found_by_its_name(scheme: str, fields: tuple[str, ...], found: str | None):
    """Over HTTPS the plain name does not count: a neighbour under the same domain could have set it."""
    assert session_cookie(request(scheme, *fields)) == found


@pytest.mark.parametrize("secure", [False, True])
def test_the_browser_keeps_it_from_scripts_and_other_sites(secure: bool):
    for text in (set_cookie("v", secure=secure, lasting_s=60), *clear_cookies(secure=secure)):
        assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(text.split("; "))
        assert text.endswith("; Secure") == text.startswith("__Host-")
        assert "Domain" not in text
    name = "__Host-holdfast_session" if secure else "holdfast_session"
    assert set_cookie("v", secure=secure, lasting_s=60).startswith(f"{name}=v; Max-Age=60; ")
    assert clear_cookies(secure=secure)[-1].startswith(f"{name}=; Max-Age=0; ")
