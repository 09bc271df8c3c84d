"""The decisions of WaitPolicy and Budget, as tables and as promises for any number."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.details import KnownLock, LockedDetails, LockedKind
from holdfast.client.policy import Budget, GaveUp, WaitPolicy, backoff, hopeless, next_delay

SPANS = st.floats(min_value=0, max_value=10_000, allow_nan=False)
USUAL = WaitPolicy()
CHANCES = st.floats(min_value=0, max_value=1)


def delay(policy: WaitPolicy = USUAL, **given: float | None) -> float | None:
    usual: dict[str, float | None] = {"retry_after": None, "remaining": None, "waits": 0, "left": 60.0, "chance": 0.5}
    return next_delay(policy, **(usual | given))  # type: ignore[arg-type]


@given(retry_after=SPANS, left=SPANS, chance=CHANCES, waits=st.integers(0, 100), remaining=st.none() | SPANS)
def test_a_retry_after_is_never_undercut_and_the_deadline_never_passed(
    retry_after: float, left: float, chance: float, waits: int, remaining: float | None
) -> None:
    found = delay(retry_after=retry_after, left=left, chance=chance, waits=waits, remaining=remaining)
    if found is None:
        assert left <= 0 or retry_after > left
    else:
        assert retry_after <= found <= left


@given(chance=CHANCES, waits=st.integers(0, 10_000), left=st.floats(min_value=0.001, max_value=1000))
def test_without_a_word_from_the_server_it_waits_from_the_floor_to_the_cap(
    chance: float, waits: int, left: float
) -> None:
    policy = WaitPolicy(floor=0.5, cap=8)
    found = delay(policy, chance=chance, waits=waits, left=left)
    assert found is not None
    assert min(0.5, left) <= found <= min(8, left)


def test_jitter_is_added_after_what_the_server_said_and_not_multiplied_into_it() -> None:
    policy = WaitPolicy(jitter=0.2)
    assert [delay(policy, retry_after=10, chance=chance) for chance in (0.0, 0.5, 1.0)] == [10, 11, 12]


def test_a_retry_after_of_nothing_is_no_licence_to_hammer() -> None:
    assert delay(WaitPolicy(floor=0.25), retry_after=0, chance=0) == 0.25


def test_a_near_end_is_waited_for_and_a_far_one_says_nothing_of_when_the_holder_is_done() -> None:
    policy = WaitPolicy(cap=10, jitter=0)
    assert delay(policy, remaining=7, chance=0) == 7
    assert delay(policy, remaining=1700, chance=0) == policy.floor


def test_the_last_look_is_at_the_deadline() -> None:
    policy = WaitPolicy(floor=5, cap=10)
    assert delay(policy, left=3, chance=1) == 3
    assert delay(policy, left=3, remaining=8, chance=0) == 3
    assert delay(policy, left=0) is None


def test_the_bound_doubles_up_to_the_cap_however_often_it_was_waited() -> None:
    policy = WaitPolicy(floor=1, cap=10)
    assert [backoff(policy, waits=waits, chance=1) for waits in (0, 1, 2, 3, 10**9)] == [2, 4, 8, 10, 10]
    assert backoff(policy, waits=5, chance=0) == 1


@pytest.mark.parametrize(
    "policy, details, left, expected",
    [
        (WaitPolicy(), LockedDetails(status=423), 60, None),
        (WaitPolicy(), LockedDetails(status=423), 0, GaveUp.DEADLINE),
        (WaitPolicy(), LockedDetails(status=423, kind=LockedKind.ADMINISTRATIVE), 60, GaveUp.RULE),
        (WaitPolicy(wait_for_endless=True), LockedDetails(status=423, kind=LockedKind.ADMINISTRATIVE), 60, GaveUp.RULE),
        (WaitPolicy(), LockedDetails(status=423, kind=LockedKind.BAD_TOKEN), 60, GaveUp.RULE),
        (WaitPolicy(), LockedDetails(status=423, locks=(KnownLock(endless=True),)), 60, GaveUp.ENDLESS),
        (WaitPolicy(wait_for_endless=True), LockedDetails(status=423, locks=(KnownLock(endless=True),)), 60, None),
        # RFC 4918 section 6.6: a holder may release long before the lock ends.
        (WaitPolicy(), LockedDetails(status=423, locks=(KnownLock(remaining=1800.0),)), 60, None),
        (
            WaitPolicy(trust_expiry=True),
            LockedDetails(status=423, locks=(KnownLock(remaining=1800.0),)),
            60,
            GaveUp.EXPIRY,
        ),
        (WaitPolicy(trust_expiry=True), LockedDetails(status=423, locks=(KnownLock(remaining=18.0),)), 60, None),
    ],
)
def test_it_fails_at_once_where_waiting_cannot_help(
    policy: WaitPolicy, details: LockedDetails, left: float, expected: GaveUp | None
) -> None:
    assert hopeless(policy, details, left=left) is expected


def test_a_budget_gives_its_capacity_at_once_and_the_rest_at_its_rate() -> None:
    budget = Budget(capacity=3, per_second=2)
    assert [budget.reserve(10.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert budget.reserve(11.0) == 0.5
    assert budget.reserve(100.0) == 0


def test_a_budget_takes_nothing_for_what_would_come_too_late() -> None:
    budget = Budget(capacity=1, per_second=0.1)
    assert budget.reserve(0.0) == 0
    assert budget.reserve(0.0, most=5.0) is None
    assert budget.reserve(0.0) == 10


def test_a_clock_that_stands_still_or_runs_back_adds_nothing_to_a_budget() -> None:
    budget = Budget(capacity=1, per_second=1)
    assert budget.reserve(50.0) == 0
    assert budget.reserve(40.0) == 1


def test_threads_that_share_a_budget_never_get_more_than_it_has() -> None:
    budget = Budget(capacity=40, per_second=0.001)
    at_once: list[float] = []

    def take() -> None:
        found = [budget.reserve(1.0, most=0.0) for _ in range(20)]
        at_once.extend(seconds for seconds in found if seconds is not None)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(at_once) == 40


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0.0},
        {"floor": 5.0, "cap": 1.0},
        {"deadline": -1.0},
        {"deadline": float("nan")},
        {"attempts": 0},
        {"jitter": 2.0},
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        WaitPolicy(**wrong)  # type: ignore[arg-type]
