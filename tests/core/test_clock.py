"""The clock never runs backwards and does not jump with the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.clock import Anchor, Clock, boot_identity

HOUR_US = 3_600_000_000
WALL_US = 1_800_000_000_000_000


class Sources:
    """Both readings, to be moved by a test."""

    def __init__(self) -> None:
        self.uptime_us = 500
        self.wall_us = WALL_US

    def clock(self, anchor: Anchor | None = None) -> Clock:
        return Clock(anchor, read_uptime=lambda: self.uptime_us, read_wall=lambda: self.wall_us)

    def pass_time(self, microseconds: int) -> None:
        self.uptime_us += microseconds
        self.wall_us += microseconds


def test_now_is_the_wall_clock_at_first_aware_and_in_utc():
    now = Sources().clock().now()
    assert now == datetime.fromtimestamp(WALL_US / 1e6, tz=UTC)
    assert now.utcoffset() == timedelta(0)


@pytest.mark.parametrize("jump_us", [HOUR_US, -HOUR_US])
def test_now_does_not_jump_with_the_wall_clock(jump_us: int):
    sources = Sources()
    clock = sources.clock()
    before = clock.now()
    sources.wall_us += jump_us
    assert clock.now() == before
    assert clock.wall_offset() == timedelta(microseconds=jump_us)
    sources.pass_time(2_000_000)
    assert clock.now() - before == timedelta(seconds=2)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(-(10**12), 10**12)), max_size=20))
def test_now_never_runs_backwards_whatever_the_wall_clock_does(steps: list[tuple[int, int]]):
    sources = Sources()
    clock = sources.clock()
    before = clock.now_us()
    for passed, jump in steps:
        sources.pass_time(passed)
        sources.wall_us += jump
        assert clock.now_us() == before + passed
        before = clock.now_us()


@pytest.mark.parametrize("jump_us", [0, HOUR_US, -HOUR_US])
def test_processes_of_one_boot_that_share_an_anchor_agree(jump_us: int):
    sources = Sources()
    first = sources.clock(Anchor(WALL_US, sources.uptime_us, "this boot"))
    same_boot = Anchor(first.anchor.wall_us, first.anchor.uptime_us, boot_identity() or "unknown")
    sources.pass_time(7_000_000)
    sources.wall_us += jump_us
    late = sources.clock().resumed(same_boot, latest_us=first.now_us())
    if boot_identity():
        assert late.anchor == same_boot
        assert late.now() == first.now()
    assert late.now() >= first.now()


@pytest.mark.parametrize(("jump_us", "expected_us"), [(HOUR_US, WALL_US + HOUR_US), (-HOUR_US, WALL_US)])
def test_after_a_restart_of_the_machine_a_new_anchor_is_not_before_the_latest_instant(jump_us: int, expected_us: int):
    sources = Sources()
    before_restart = sources.clock()
    stored = Anchor(before_restart.anchor.wall_us, before_restart.anchor.uptime_us, "an earlier boot")
    sources.uptime_us = 3
    sources.wall_us += jump_us
    after = sources.clock().resumed(stored, latest_us=before_restart.anchor.wall_us)
    assert after.anchor == Anchor(expected_us, 3, boot_identity())
    assert after.now_us() == expected_us


def test_an_anchor_of_no_known_boot_is_not_resumed():
    sources = Sources()
    after = sources.clock().resumed(Anchor(WALL_US - HOUR_US, 1, ""), latest_us=WALL_US + 5)
    assert after.now_us() == WALL_US + 5


def test_an_anchor_from_a_longer_uptime_than_now_is_of_another_boot():
    sources = Sources()
    stale = Anchor(WALL_US - HOUR_US, sources.uptime_us + 1, boot_identity())
    assert sources.clock().resumed(stale, latest_us=0).now_us() == WALL_US


def test_a_resumed_clock_keeps_its_sources():
    sources = Sources()
    clock = sources.clock().resumed(Anchor(WALL_US, 0, "an earlier boot"), latest_us=0)
    before = clock.now_us()
    sources.pass_time(9)
    assert clock.now_us() == before + 9


def test_the_real_clock_goes_forward_and_starts_at_the_wall_clock():
    clock = Clock()
    first, second = clock.now(), clock.now()
    assert first <= second
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
