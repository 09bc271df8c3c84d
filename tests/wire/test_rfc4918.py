"""WebDAV's small header fields (RFC 4918 section 10): what is read, what is refused, and that nothing hangs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.model import Depth
from holdfast.wire.rfc4918 import (
    INFINITE,
    MAX_DESTINATION_LENGTH,
    MAX_LOCK_TOKEN_LENGTH,
    MAX_TIMEOUT_SECONDS,
    DestinationElsewhereError,
    HeaderError,
    parse_depth,
    parse_destination,
    parse_lock_token,
    parse_overwrite,
    parse_timeout,
    render_depth,
    render_lock_token,
    render_overwrite,
    render_timeout,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, None),
        ("", None),
        ("Infinite, Second-4100000000", INFINITE),  # RFC 4918 section 9.10.7; it hung lighttpd 1.4.69
        ("Second-4100000000, Infinite", 4_100_000_000),
        ("Second-600", 600),  # macOS webdavfs
        ("Second-3600", 3600),  # Windows Mini-Redirector
        ("Second-1800", 1800),  # davfs2
        ("second-10", 10),
        ("INFINITE", INFINITE),
        ("Second-0", 0),
        ("Second-0000000000000000000007", 7),
        ("Second-4294967295", MAX_TIMEOUT_SECONDS),
        ("Second-4294967296", MAX_TIMEOUT_SECONDS),
        ("Second-" + "9" * 900, MAX_TIMEOUT_SECONDS),
        ("Extend, Second-30", 30),
        ("Second-, Second--1, Second-1.5, Second- 5, Second-0x10, Second-9", 9),
        (", ,,\t, Second-5", 5),
        ("Second-١٢", None),
        ("Second", None),
        ("nonsense", None),
        ("," * 5000, None),
        ("x" * 100_000 + ",Second-5", None),
    ],
)
def test_timeout_takes_the_first_item_that_is_understood_and_never_fails(text, expected):
    assert parse_timeout(text) == expected


@given(st.text() | st.from_regex(r"((second-|infinite|[0-9,; -])*)", fullmatch=True))
def test_timeout_survives_any_text(text):
    asked = parse_timeout(text)
    assert asked is None or asked is INFINITE or 0 <= asked <= MAX_TIMEOUT_SECONDS


@given(st.integers(min_value=0, max_value=MAX_TIMEOUT_SECONDS))
def test_timeout_reads_what_it_writes(seconds):
    assert parse_timeout(render_timeout(seconds)) == seconds
    assert parse_timeout(render_timeout(INFINITE)) is INFINITE


def test_a_lock_without_end_is_written_as_infinite():
    assert render_timeout(None) == "Infinite"


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, None),
        ("0", Depth.ZERO),
        ("1", Depth.ONE),
        ("infinity", Depth.INFINITY),
        ("Infinity", Depth.INFINITY),
        (" INFINITY ", Depth.INFINITY),
    ],
)
def test_depth_is_read_in_any_case(text, expected):
    assert parse_depth(text) is expected


@pytest.mark.parametrize("text", ["", "2", "-1", "0, 0", "infinite", "1,noroot", "00", "0.0", "٠", "infinity\x00"])
def test_depth_refuses_other_values(text):
    with pytest.raises(HeaderError, match="Depth"):
        parse_depth(text)


@pytest.mark.parametrize("depth", list(Depth))
def test_depth_reads_what_it_writes(depth):
    assert parse_depth(render_depth(depth)) is depth


TOKEN = "urn:uuid:a515cfa4-5da4-22e1-f5b5-00a0451e6bf7"


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"<{TOKEN}>", TOKEN),  # RFC 4918 section 9.11.2
        (TOKEN, TOKEN),  # Windows, npm webdav
        (f" \t<{TOKEN}> ", TOKEN),
        (
            "<opaquelocktoken:e71d4fae-5dec-22d6-fea5-00a0c91e6be4>",
            "opaquelocktoken:e71d4fae-5dec-22d6-fea5-00a0c91e6be4",
        ),
        ("<DAV:no-lock>", "DAV:no-lock"),
    ],
)
def test_lock_token_is_read_with_and_without_brackets(text, expected):
    assert parse_lock_token(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "<", ">", "<>", "< >", f"<{TOKEN}", f"{TOKEN}>", f"<<{TOKEN}>>", f"<{TOKEN}>, <{TOKEN}>", f"(<{TOKEN}>)",
     "no-scheme", ":x", "a:", "a b:c", "urn:uuid:\x00", "urn:uuid:é", f"<{TOKEN}> x", "1:2", "<urn:a\r\nX: y>",
     "urn:" + "x" * MAX_LOCK_TOKEN_LENGTH],
)  # fmt: skip
def test_lock_token_refuses_what_is_not_one_absolute_uri(text):
    with pytest.raises(HeaderError, match="Lock-Token"):
        parse_lock_token(text)


@given(st.text())
def test_lock_token_survives_any_text(text):
    with contextlib.suppress(HeaderError):
        token = parse_lock_token(text)
        assert parse_lock_token(render_lock_token(token)) == token


def test_lock_token_cut_anywhere_is_read_or_refused():
    whole = f"<{TOKEN}>"
    for end in range(len(whole)):
        with contextlib.suppress(HeaderError):
            assert "<" not in parse_lock_token(whole[:end])


@pytest.mark.parametrize("text, expected", [(None, True), ("T", True), ("F", False), ("t", True), (" f ", False)])
def test_overwrite_is_t_unless_it_says_f(text, expected):
    assert parse_overwrite(text) is expected


@pytest.mark.parametrize("text", ["", "TF", "true", "0", "T, T", "Ｆ"])
def test_overwrite_refuses_other_values(text):
    with pytest.raises(HeaderError, match="Overwrite"):
        parse_overwrite(text)


@pytest.mark.parametrize("overwrite", [True, False])
def test_overwrite_reads_what_it_writes(overwrite):
    assert parse_overwrite(render_overwrite(overwrite)) is overwrite


@pytest.mark.parametrize(
    "text, scheme, host, expected",
    [
        (
            "http://www.example.com/users/f/fielding/index.html",
            "http",
            "www.example.com",
            "/users/f/fielding/index.html",
        ),
        ("/dav/b.txt", "http", "h", "/dav/b.txt"),
        ("/dav/a%20b%2e", "http", None, "/dav/a%20b%2e"),
        ("HTTP://WWW.Example.COM/x", "http", "www.example.com", "/x"),
        ("http://h:80/x", "http", "h", "/x"),
        ("http://h/x", "http", "h:80", "/x"),
        ("https://h/x", "http", "h", "/x"),  # TLS ends at a proxy
        ("https://h:443/x", "http", "h", "/x"),
        ("http://h/x", "https", "h:443", "/x"),
        ("https://h:8443/x", "http", "h:8443", "/x"),
        ("http://127.0.0.1:4230/dav/x", "http", "127.0.0.1:4230", "/dav/x"),
        ("http://[::1]:4230/dav/x", "http", "[::1]:4230", "/dav/x"),
        ("http://h", "http", "h", "/"),
        ("http://h:/x", "http", "h", "/x"),
        (" http://h./x ", "http", "h", "/x"),
        ("http://h//x", "http", "h", "//x"),
    ],
)
def test_destination_on_this_server_gives_its_raw_path(text, scheme, host, expected):
    assert parse_destination(text, scheme=scheme, host=host) == expected


@pytest.mark.parametrize(
    "text, host",
    [
        ("http://other/x", "h"),
        ("http://h.evil/x", "h"),
        ("http://h:8080/x", "h"),
        ("http://h/x", "h:8080"),
        ("http://h/x", None),
        ("http://h/x", ""),
        ("http://h:8080/x", "h:80"),
        ("http://xh/x", "h"),
    ],
)
def test_destination_on_another_server_is_told_apart_for_502(text, host):
    with pytest.raises(DestinationElsewhereError):
        parse_destination(text, scheme="http", host=host)


@pytest.mark.parametrize(
    "text",
    [None, "", " ", "x", "b.txt", "../b", "//h/x", "///", "?q", "/x?q=1", "/x#f", "#", "http://h/x#", "http://h/x?y",
     "ftp://h/x", "file:///etc/passwd", "http:/h/x", "http://", "http:///x", "http://user:pw@h/x", "http://h:x/x",
     "http://h/a b", "/a b", "/ä", "/a\x00", "/a\r\nb", "http://[::1/x", "mailto:a@b", "/" + "x" * MAX_DESTINATION_LENGTH],
)  # fmt: skip
def test_destination_refuses_what_is_not_an_http_uri_or_absolute_path(text):
    with pytest.raises(HeaderError, match="Destination"):
        parse_destination(text, scheme="http", host="h")


@given(st.text() | st.from_regex(r"(https?:|/|h|:|[0-9]|@|\[|\]|%|\.|#|\?)*", fullmatch=True))
def test_destination_survives_any_text_and_gives_only_absolute_paths(text):
    with contextlib.suppress(HeaderError, DestinationElsewhereError):
        path = parse_destination(text, scheme="http", host="h")
        assert path.startswith("/")
        assert not set(path) & set("?# \x00")


def test_destination_cut_anywhere_is_read_or_refused():
    whole = "http://h.example:4230/dav/a%20b"
    for end in range(len(whole)):
        with contextlib.suppress(HeaderError, DestinationElsewhereError):
            assert whole.endswith(parse_destination(whole[:end], scheme="http", host="h.example:4230")[:5]) or end > 20
