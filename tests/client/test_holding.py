"""The state machine of a held lock: when it is held, at risk and lost, and why. No thread, no server, no time that passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.errors import LockLostError, LostReason
from holdfast.client.holding import Failed, Holding, HoldState, Loss, Refreshed

NEW = Holding(asked_at=100.0, ttl=30.0)
CUT = Failed(ConnectionError("cut"))


def test_the_deadline_counts_from_before_the_request_was_sent_and_by_what_was_granted() -> None:
    assert NEW.deadline == 130.0
    assert NEW.after(Refreshed(asked_at=110.0, ttl=12.0), now=115.0).deadline == 122.0


def test_it_is_refreshed_at_a_third_of_the_granted_time() -> None:
    assert NEW.refresh_at == 110.0


@pytest.mark.parametrize(
    ("now", "state"),
    [(100.0, "held"), (119.9, "held"), (120.1, "at-risk"), (129.9, "at-risk"), (130.0, "lost"), (1e9, "lost")],
)
def test_the_state_follows_the_clock_alone(now: float, state: str) -> None:
    assert NEW.state(now) == state


def test_a_failed_refresh_is_a_risk_and_not_a_loss() -> None:
    after = NEW.trying(110.0).after(CUT, now=111.0)
    assert after.state(111.0) is HoldState.AT_RISK
    assert after.deadline == NEW.deadline
    assert 111.0 < after.refresh_at < 120.0


def test_a_refresh_that_comes_through_ends_the_risk() -> None:
    after = NEW.after(CUT, now=111.0).after(Refreshed(112.0, 30.0), now=112.5)
    assert after.state(112.5) is HoldState.HELD
    assert after.failures == 0


def test_failures_are_tried_again_ever_more_slowly_but_inside_what_is_left() -> None:
    holding, now, tries = NEW, 110.0, 0
    while (holding := holding.checked(now)).loss is None:
        holding = holding.after(CUT, now)
        assert now < holding.refresh_at <= holding.deadline
        now = holding.refresh_at
        tries += 1
    assert 4 <= tries <= 20
    assert holding.loss is not None
    assert holding.loss.reason is LostReason.UNREACHABLE


def test_what_the_server_asks_for_is_heeded_as_far_as_there_is_time() -> None:
    assert NEW.after(Failed(ConnectionError(), retry_after=5.0), now=110.0).refresh_at == 115.0
    assert NEW.after(Failed(ConnectionError(), retry_after=600.0), now=110.0).refresh_at == 120.0


def test_a_try_leaves_time_for_a_second_one() -> None:
    assert NEW.try_for(110.0) == 10.0
    assert NEW.try_for(126.0) == 2.0
    assert NEW.try_for(129.99) == 0.2


@pytest.mark.parametrize(
    ("holding", "reason"),
    [
        (NEW, LostReason.SUSPENDED),
        (NEW.trying(110.0), LostReason.UNREACHABLE),
        (NEW.after(CUT, now=110.0), LostReason.UNREACHABLE),
        (NEW.after(Failed(PermissionError(), is_refusal=True), now=110.0), LostReason.REFUSED),
        (Holding(asked_at=100.0, ttl=30.0, is_kept=False), LostReason.EXPIRED),
    ],
)
def test_the_reason_of_a_lapse_is_what_was_done_about_it(holding: Holding, reason: LostReason) -> None:
    loss = holding.checked(131.0).loss
    assert loss is not None
    assert loss.reason is reason
    assert loss.detail.endswith(".") or "None" not in loss.detail


def test_a_lock_that_was_to_be_broken_is_broken_at_its_end_and_not_lapsed() -> None:
    to_come = Loss(reason=LostReason.BROKEN, by="root", why="upgrade")
    holding = NEW.after(Refreshed(110.0, 5.0, to_come), 110.1)
    assert holding.loss is None
    assert holding.trying(112.0).checked(115.0).loss == to_come


def test_the_error_that_led_to_the_loss_is_its_cause() -> None:
    loss = NEW.after(CUT, now=110.0).checked(130.0).loss
    assert loss is not None
    error = loss.as_error("/orders/42")
    assert isinstance(error, LockLostError)
    assert error.__cause__ is CUT.error


def test_lost_and_released_are_final() -> None:
    broken = Loss(reason=LostReason.BROKEN, by="root", why="old")
    lost = NEW.after(broken, now=105.0)
    for holding in (lost, NEW.released()):
        assert holding.after(Refreshed(106.0, 30.0), 107.0) is holding
        assert holding.after(CUT, 107.0) is holding
        assert holding.checked(1e9) is holding
        assert holding.trying(107.0) is holding
    assert lost.released() is lost
    assert lost.state(105.0) is HoldState.LOST
    assert NEW.released().state(1e9) is HoldState.RELEASED


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    later = NEW.after(Refreshed(120.0, 30.0), 121.0)
    assert later.after(Refreshed(115.0, 30.0), 122.0) is later


def test_a_lock_without_end_is_looked_after_but_has_no_deadline() -> None:
    holding = Holding(asked_at=100.0, ttl=None)
    assert holding.deadline == math.inf
    assert holding.state(1e9) is HoldState.HELD
    assert holding.refresh_at == 160.0
    assert holding.after(CUT, 160.0).refresh_at < math.inf
    assert holding.after(CUT, 160.0).state(1e9) is HoldState.AT_RISK


STEPS = st.lists(
    st.one_of(
        st.floats(0.01, 40).map(lambda seconds: ("pass", seconds)),
        st.floats(0, 5).map(lambda seconds: ("refreshed", seconds)),
        st.just(("failed", 0.0)),
        st.just(("lost", 0.0)),
        st.just(("released", 0.0)),
    ),
    max_size=30,
)


@given(st.floats(0.1, 100), STEPS)
def test_whatever_happens_it_is_never_held_beyond_what_was_granted(ttl: float, steps: list[tuple[str, float]]) -> None:
    """The oracle: the latest grant that was asked for before the lock was lost, and its end."""
    now, holding = 1000.0, Holding(asked_at=1000.0, ttl=ttl)
    sure_until = now + ttl
    is_over = False
    for what, value in steps:
        if what == "pass":
            now += value
        elif what == "refreshed":
            asked_at = now
            now += value
            if not is_over and now < asked_at + ttl:
                sure_until = max(sure_until, asked_at + ttl)
            holding = holding.after(Refreshed(asked_at, ttl), now)
        elif what == "failed":
            holding = holding.after(CUT, now)
        elif what == "lost":
            holding = holding.after(Loss(reason=LostReason.GONE), now)
            is_over = True
        else:
            holding = holding.released()
            is_over = True
        holding = holding.checked(now)
        is_over = is_over or holding.loss is not None
        is_held = holding.state(now) in {HoldState.HELD, HoldState.AT_RISK}
        assert is_held <= (now < sure_until and not is_over)
        assert holding.left(now) >= 0
        if is_held:
            assert holding.refresh_at <= holding.deadline
