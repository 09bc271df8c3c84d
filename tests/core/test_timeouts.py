"""Granted time is asked time within the server's bounds (RFC 4918 sections 6.6, 10.7)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.core.timeouts import FOREVER, TimeoutPolicy


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, timedelta(minutes=30)),
        (timedelta(seconds=0), timedelta(seconds=1)),
        (timedelta(seconds=-5), timedelta(seconds=1)),
        (timedelta(milliseconds=1), timedelta(seconds=1)),
        (timedelta(seconds=1), timedelta(seconds=1)),
        (timedelta(seconds=600), timedelta(seconds=600)),
        (timedelta(hours=24), timedelta(hours=24)),
        (timedelta(hours=24, microseconds=1), timedelta(hours=24)),
        (timedelta(seconds=4_294_967_295), timedelta(hours=24)),
        (FOREVER, timedelta(hours=24)),
    ],
)
def test_the_granted_time_is_the_asked_time_within_bounds(asked: timedelta | None, granted: timedelta):
    assert TimeoutPolicy().grant(asked) == granted


def test_the_bounds_are_settings():
    policy = TimeoutPolicy(timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=15))
    assert [policy.grant(asked) for asked in (None, timedelta(0), FOREVER)] == [
        timedelta(seconds=15),
        timedelta(seconds=10),
        timedelta(seconds=20),
    ]
