"""Recorded histories of many clients against a real server, with blows from all sides, keep every promise of the checker.

`HISTORY_SECONDS` makes each longer than its 20 seconds; `HISTORY_SEED` chooses other operations and blows.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.histories.checker import CHECKS
from tests.histories.feed import FEED_CHECKS
from tests.histories.history import History
from tests.histories.run import Plan, record

SECONDS = float(os.environ.get("HISTORY_SECONDS", "20"))
SEED = os.environ.get("HISTORY_SEED", "1")

PLANS = {
    "one process, killed and restarted": Plan("one", SECONDS),
    "two workers, killed one by one and together": Plan("two", SECONDS, workers=2, worker_kills=1),
    "two workers that live, many clients": Plan("calm", SECONDS, clients=16, workers=2, server_kills=0),
}

pytestmark = [pytest.mark.process, pytest.mark.serial, pytest.mark.timeout(120 + 3 * SECONDS)]


@pytest.mark.parametrize("name", PLANS)
def test_no_promise_is_broken(name: str, tmp_path: Path) -> None:
    plan = PLANS[name]
    history = record(replace(plan, seed=f"{plan.seed} {SEED}"), tmp_path)
    assert _is_telling(history), f"too little happened: {_summary(history)}"
    violations = {check.__name__: found for check in (*CHECKS, *FEED_CHECKS) if (found := check(history))}
    assert violations == {}, f"{_summary(history)}; records are in {tmp_path}"


def _is_telling(history: History) -> bool:
    """Whether enough happened for the promises to mean something."""
    waited = [one for one in history.grants if one.ask.wait]
    return len(history.grants) > 2 * SECONDS and len(waited) > SECONDS and len(history.stopped) > SECONDS / 10


def _summary(history: History) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in history.operations:
        key = f"{one.kind} {one.status}"
        found[key] = found.get(key, 0) + 1
    return found
