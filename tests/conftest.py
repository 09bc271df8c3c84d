"""What every test has: a skip with its reason where a Debian program is missing, and Hypothesis' profiles."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.tools.finding import advice, is_here

# Deadlines measure the machine, not the code; CI prints the blob that reproduces a failure.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "default")

# What a shell starts in the background ignores Ctrl-C, and so would every program that the tests start, and send signals to.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `tool(name)` where the program is not installed; fail in CI, where it must be."""
    for marker in item.iter_markers("tool"):
        for name in marker.args:
            if not is_here(name):
                reason = f"{name} is not installed"
                if os.environ.get("CI"):
                    pytest.fail(f"{reason}, and CI must not skip this")
                pytest.skip(f"{reason}: {advice(name)}")
