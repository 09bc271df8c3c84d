"""Spans and ends of time as people type them; the clock and the zone are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.cli.instants import local_text, parse_span, parse_until
from holdfast.cli.terminal import CommandError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 19, 30, tzinfo=UTC)  # 20:30 in Berlin


def until(text: str, now: datetime = NOW) -> datetime:
    return parse_until(text, "--until", now, BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("22:00", datetime(2026, 11, 22, 21, 0, tzinfo=UTC)),
        ("20:30", datetime(2026, 11, 23, 19, 30, tzinfo=UTC)),
        ("6:05", datetime(2026, 11, 23, 5, 5, tzinfo=UTC)),
        ("22:00:30", datetime(2026, 11, 22, 21, 0, 30, tzinfo=UTC)),
        ("2026-11-22T22:00", datetime(2026, 11, 22, 21, 0, tzinfo=UTC)),
        ("2026-12-01 08:00", datetime(2026, 12, 1, 7, 0, tzinfo=UTC)),
        ("2026-11-22T22:00Z", datetime(2026, 11, 22, 22, 0, tzinfo=UTC)),
        ("2026-11-22T22:00+05:00", None),
    ],
)
def test_a_time_is_local_and_the_next_one(text, meant):
    if meant is None:
        with pytest.raises(CommandError, match="is past"):
            until(text)
    else:
        assert until(text) == meant


def test_tomorrow_at_the_same_time_is_right_when_the_clocks_change_in_between():
    saturday = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # 22:00 in Berlin, the night before summer time ends
    assert until("21:00", saturday) == datetime(2026, 10, 25, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["25:00", "2026-02-30T10:00", "12:60", "soon", "22", "2026-11-23", "", "2026-11-22T20:29"]
)
def test_what_is_no_time_to_come_is_refused_in_a_sentence_with_the_flag(text):
    with pytest.raises(CommandError, match="--until"):
        until(text)


def test_ten_years_are_the_most():
    with pytest.raises(CommandError, match="ten years"):
        until("2126-01-01T00:00")
    with pytest.raises(CommandError, match="ten years"):
        parse_span("600w", "--for")


@pytest.mark.parametrize(
    ("text", "span"), [("90m", timedelta(minutes=90)), ("2h", timedelta(hours=2)), ("1w", timedelta(days=7))]
)
def test_a_span_is_a_number_and_a_unit(text, span):
    assert parse_span(text, "--for") == span


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "2 h", "2x", "٢h"])
def test_what_is_no_span_is_refused(text):
    with pytest.raises(CommandError, match="--for"):
        parse_span(text, "--for")


def test_an_instant_is_shown_with_its_day_where_that_is_not_today():
    assert local_text(NOW, NOW, BERLIN) == "20:30"
    assert local_text(NOW + timedelta(hours=4), NOW, BERLIN) == "2026-11-23 00:30"
