"""Byte ranges (RFC 9110 section 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.rfc9110 import UNSATISFIABLE, ByteRange, parse_range, render_content_range
from holdfast.wire.rfc9110.ranges import MAX_RANGES


@pytest.mark.parametrize(
    "text, expected",
    [  # the examples of section 14.1.2, of a representation of 10,000 bytes
        ("bytes=0-499", (ByteRange(0, 500),)),
        ("bytes=500-999", (ByteRange(500, 500),)),
        ("bytes=-500", (ByteRange(9500, 500),)),
        ("bytes=9500-", (ByteRange(9500, 500),)),
        ("bytes=0-0,-1", (ByteRange(0, 1), ByteRange(9999, 1))),
        ("bytes= 0-0, -2", (ByteRange(0, 1), ByteRange(9998, 2))),
        ("bytes= 0-999, 4500-5499, -1000", (ByteRange(0, 1000), ByteRange(4500, 1000), ByteRange(9000, 1000))),
        ("bytes=500-600,601-999", (ByteRange(500, 101), ByteRange(601, 399))),
        ("bytes=500-700,601-999", (ByteRange(500, 201), ByteRange(601, 399))),
        # and beyond
        ("BYTES=0-0", (ByteRange(0, 1),)),
        ("bytes=9999-20000", (ByteRange(9999, 1),)),
        ("bytes=-20000", (ByteRange(0, 10_000),)),
        ("bytes=20000-, 0-0", (ByteRange(0, 1),)),
        ("bytes=0-" + "9" * 400, (ByteRange(0, 10_000),)),
        ("bytes=10000-", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=" + "9" * 400 + "-", UNSATISFIABLE),
    ],
)
def test_ranges_are_read_against_the_size(text, expected):
    assert parse_range(text, 10_000) == expected


@pytest.mark.parametrize(
    "text",
    [None, "", "bytes", "bytes=", "bytes=,", "items=0-1", "bytes=a-b", "bytes=1", "bytes=5-1", "bytes=0-1;2", "bytes=--1",
     "bytes=0-1-2", "bytes=+0-1", "bytes=0x0-1", "bytes=٠-١", "0-1", "bytes=0-1, x"],
)  # fmt: skip
def test_what_is_malformed_is_ignored_and_the_whole_is_sent(text):
    assert parse_range(text, 10_000) is None


def test_a_range_of_an_empty_representation_is_ignored():
    assert parse_range("bytes=0-", 0) is None
    assert parse_range("bytes=-5", 0) is None


def test_abuse_is_ignored():
    """Section 17.15: many ranges, or more than two that overlap."""
    assert parse_range("bytes=" + ",".join(["0-"] * 4), 10_000) is None
    assert parse_range("bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES + 1)), 10_000) is None
    many = parse_range("bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES)), 10_000)
    assert isinstance(many, tuple)
    assert len(many) == MAX_RANGES


def test_content_range_is_written():
    assert render_content_range(ByteRange(42, 1192), 1234) == "bytes 42-1233/1234"  # section 14.4
    assert render_content_range(None, 1234) == "bytes */1234"


@given(st.text() | st.from_regex(r"bytes=([0-9]|-|,| )*", fullmatch=True), st.integers(0, 50))
def test_every_range_lies_within_the_representation(text, size):
    ranges = parse_range(text, size)
    for part in ranges if isinstance(ranges, tuple) else ():
        assert part.length >= 1
        assert 0 <= part.offset <= part.offset + part.length <= size
