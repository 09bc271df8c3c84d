"""What a lock answers about itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.core.model import Depth
from tests.core.sample import INFINITY, START, ZERO, lock, path


@pytest.mark.parametrize(
    ("ttl_s", "after_s", "expired", "left"),
    [
        (60, 0, False, 60),
        (60, 0.001, False, 60),
        (60, 59.999999, False, 1),
        (60, 60, True, 0),
        (60, 61, True, 0),
        (None, 10_000_000, False, None),
    ],
)
def test_a_lock_expires_at_its_instant_and_says_what_is_left_rounded_up(
    ttl_s: float | None, after_s: float, expired: bool, left: int | None
):
    held = lock("/a", ttl_s=ttl_s)
    now = START + timedelta(seconds=after_s)
    assert held.is_expired_at(now) is expired
    assert held.seconds_left(now) == left


@pytest.mark.parametrize(
    ("root", "depth", "resource", "covered"),
    [
        ("/a", ZERO, "/a", True),
        ("/a", ZERO, "/a/b", False),
        ("/a", ZERO, "/", False),
        ("/a", INFINITY, "/a", True),
        ("/a", INFINITY, "/a/b/c", True),
        ("/a", INFINITY, "/ab", False),
        ("/a", INFINITY, "/", False),
        ("/", ZERO, "/a", False),
        ("/", INFINITY, "/a/b", True),
    ],
)
def test_a_lock_covers_its_root_and_with_depth_infinity_all_below(
    root: str, depth: Depth, resource: str, covered: bool
):
    assert lock(root, depth=depth).covers(path(resource)) is covered
