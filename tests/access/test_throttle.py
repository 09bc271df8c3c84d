"""Failed attempts: some are free, each further one waits twice as long, quiet forgets."""

from __future__ import annotations

from holdfast.access.throttle import FORGET_AFTER_S, FREE_FAILURES, MAX_WAIT_S, Throttle


def failed(times: int) -> Throttle:
    throttle = Throttle()
    for _ in range(times):
        throttle.count(["k"], 100.0)
    return throttle


def test_the_first_failures_are_free():
    assert failed(FREE_FAILURES - 1).wait_s(["k"], 100.0) == 0


def test_each_further_failure_doubles_the_wait_up_to_a_minute():
    waits = [failed(FREE_FAILURES + more).wait_s(["k"], 100.0) for more in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]


def test_the_wait_ends():
    throttle = failed(FREE_FAILURES)
    assert throttle.wait_s(["k"], 100.25) == 0.75
    assert throttle.wait_s(["k"], 101.0) == 0


def test_a_quiet_quarter_of_an_hour_forgets():
    throttle = failed(1000)
    throttle.count(["k"], 100.0 + FORGET_AFTER_S)
    assert throttle.wait_s(["k"], 100.0 + FORGET_AFTER_S) == 0


def test_an_attempt_that_succeeds_is_taken_back():
    throttle = failed(FREE_FAILURES)
    throttle.take_back(["k", "unknown"])
    assert throttle.wait_s(["k"], 100.0) == 0


def test_the_longest_wait_of_the_keys_counts():
    throttle = failed(FREE_FAILURES)
    assert throttle.wait_s(["other"], 100.0) == 0
    assert throttle.wait_s(["other", "k"], 100.0) == 1


def test_memory_is_bounded():
    throttle = Throttle()
    for number in range(30_000):
        throttle.count([number], 1.0)
    assert len(throttle._counts) == 20_000
