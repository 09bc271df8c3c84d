"""HTTP dates (RFC 9110 section 5.6.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.rfc9110 import http_date, parse_http_date, render_http_date

EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        " sun, 6 nov 1994 08:49:37 gmt ",
        "Sun, 06 Nov 1994 08:49:37 +0000",
    ],
)
def test_the_three_forms_of_section_5_6_7_are_read(text):
    assert parse_http_date(text) == EXAMPLE


def test_the_preferred_form_is_written():
    assert render_http_date(EXAMPLE) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert render_http_date(EXAMPLE.astimezone(timezone(timedelta(hours=2)))) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text",
    [None, "", "now", "0", "1994-11-06T08:49:37Z", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT",
     "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET",
     "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, x", "Sun, ٠٦ Nov 1994 08:49:37 GMT", "9" * 10_000],
)  # fmt: skip
def test_anything_else_is_no_date(text):
    assert parse_http_date(text) is None


def test_a_leap_second_and_old_two_digit_years_are_read():
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert parse_http_date("Sunday, 06-Nov-26 08:49:37 GMT") == datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_dates_read_what_they_write(instant):
    assert parse_http_date(render_http_date(instant)) == instant.replace(microsecond=0)


@given(st.text())
def test_dates_survive_any_text(text):
    parse_http_date(text)


def test_a_date_cut_anywhere_is_no_date():
    whole = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert [parse_http_date(whole[:end]) for end in range(len(whole))] == [None] * len(whole)
    assert parse_http_date(whole + "x") is None
