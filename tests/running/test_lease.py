"""When a command is told to end, and when it is killed: always before its lock can be somebody else's."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.running import lease
from holdfast.running.lease import Lease, Span, margin_of, most_grace
from holdfast.running.messages import Cause, End, Ended, Renew, Start, link_pair

TTLS = st.floats(1.0, 86_400.0)
GRACES = st.none() | st.floats(0.0, 1e6)


@given(asked_at=st.floats(0.0, 1e7), ttl=TTLS, grace=GRACES)
def test_there_is_time_for_a_second_refresh_before_anything_happens_and_a_margin_behind_the_kill(asked_at, ttl, grace):
    found = Lease.until(asked_at + ttl, ttl, grace)
    assert asked_at + ttl / 3 < found.term_at <= found.kill_at
    assert found.kill_at <= asked_at + ttl - 0.25
    assert found.kill_at - found.term_at <= most_grace(ttl) + 1e-6


@given(left=st.floats(1.0, 600.0), delays=st.lists(st.floats(0.0, 0.2), min_size=1, max_size=30))
def test_refreshes_of_a_lock_whose_end_is_set_eat_up_neither_margin_nor_grace(left, delays):
    """Each is granted what is left, at a third of what the one before was granted."""
    asked_at, ttl = 0.0, left
    span = Span(3600.0, 3600.0).after(left, left)
    first = Lease.until(span.deadline, span.ttl, None)
    for delay in delays:
        asked_at += ttl / 3
        ttl = left - asked_at - delay
        if ttl <= 0:
            break
        span = span.after(asked_at + ttl, ttl)
        found = Lease.until(span.deadline, span.ttl, None)
        assert found.kill_at - found.term_at == pytest.approx(first.kill_at - first.term_at)
        assert first.kill_at - 0.2 - 1e-6 <= found.kill_at <= first.kill_at + 1e-6


def test_an_end_that_comes_nearer_again_is_heeded():
    assert Span(3600.0, 3600.0).after(60.0, 60.0).after(20.0, 10.0) == Span(20.0, 10.0)


@given(ttl=TTLS)
def test_the_margin_covers_clocks_whose_rates_differ_as_much_as_ntp_lets_them(ttl):
    assert margin_of(ttl) > ttl * 0.0005 * 2


def test_a_lock_without_end_has_a_lease_without_end():
    assert Lease.until(float("inf"), None, 5.0) == Lease(float("inf"), float("inf"))


def test_the_examples_in_the_module_are_true():
    assert doctest.testmod(lease).failed == 0


@pytest.mark.parametrize("message", [Start({"A": "b"}, Lease(1.0, float("inf"))), Renew(Lease(1.5, 2.5)), End(0.0)])
def test_a_message_arrives_as_it_was_sent(message):
    ours, theirs = link_pair()
    ours.send(message)
    assert theirs.heard_by_watchdog() == [message]
    ours.close()
    assert theirs.heard_by_watchdog() == []
    assert theirs.is_cut
    theirs.close()


def test_one_who_does_not_listen_holds_nobody_up_and_hears_all_in_the_end():
    ours, theirs = link_pair()
    sent = [Ended(Cause.ITSELF, number, 1.0) for number in range(5000)]
    for message in sent:
        theirs.send(message)
    assert theirs.has_unsent
    heard = []
    while len(heard) < len(sent):
        heard += ours.heard_from_watchdog()
        theirs.flush()
    assert heard == sent
    ours.close()
    theirs.close()
