"""The wall clock is set an hour forth and back under a running server: locks neither end nor live longer for it.

libfaketime gives the server a wall clock that the test sets; the clock that counts since the machine's start is the
real one, as it is when somebody sets the time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.edge.tiny import wait_until
from tests.serving import Client
from tests.survival.processes import ServerProcess, events_of

HOUR = 3600
TTL = 1800
CLOSE = timedelta(seconds=20)
READ_CLOCKS = "import time; print(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))"

pytestmark = [pytest.mark.process, pytest.mark.tool("faketime")]


class Wall:
    """The wall clock of the processes that are given `environment`."""

    def __init__(self, folder: Path) -> None:
        [library] = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self.file = folder / "wall"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.offset = 0
        self.set(0)

    def set(self, offset: int) -> None:
        """Let it be `offset` seconds off from now on, in one step."""
        self.offset = offset
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{offset:+d}\n")
        fresh.replace(self.file)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.offset)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


def start(folder: Path, wall: Wall, *flags: str) -> ServerProcess:
    folder.mkdir(exist_ok=True)
    return ServerProcess.start(folder, folder.with_name("log"), *flags, environment=wall.environment)


def told(client: Client, path: str) -> dict[str, object]:
    """The lock in the way, as a 423 describes it."""
    answer = client.put(path, accept="application/problem+json")
    assert answer.status == 423, answer.status
    [lock] = json.loads(answer.body)["locks"]
    return lock


def left(client: Client, path: str) -> float:
    """Seconds until the lock in the way ends, as the server counts them."""
    seconds = told(client, path)["expires_in"]
    assert isinstance(seconds, int | float)
    return seconds


def shown(client: Client, path: str, member: str) -> datetime:
    return datetime.fromisoformat(str(told(client, path)[member]))


def test_the_wall_clock_alone_is_changed_here(wall: Wall) -> None:
    """What these tests rest on: the clock that the server counts with is not faked."""
    wall.set(HOUR)
    done = subprocess.run(
        [sys.executable, "-c", READ_CLOCKS],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | wall.environment,
    )
    faked_wall, uptime = map(float, done.stdout.split())
    assert abs(faked_wall - time.time() - HOUR) < 20
    assert abs(uptime - time.clock_gettime(time.CLOCK_BOOTTIME)) < 20


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_lock_is_lost_or_freed_when_the_wall_clock_jumps_an_hour(tmp_path: Path, wall: Wall, workers: str) -> None:
    with start(tmp_path / "served", wall, "--workers", workers) as server:
        alice, bob = server.client("alice"), server.client("bob")
        token = alice.locked("/dav/doc", timeout=f"Second-{TTL}")
        before = left(bob, "/dav/doc")
        assert TTL - 20 <= before <= TTL
        since = shown(bob, "/dav/doc", "since")
        assert abs(since - wall.now()) < CLOSE
        for offset in (HOUR, -HOUR, 0, 25 * HOUR):
            wall.set(offset)
            after = left(bob, "/dav/doc")
            assert before - 20 <= after <= before, offset
            before = after
            # Instants are shown on the wall clock as people see it now, within a second or so of its change.
            moved = since + timedelta(seconds=offset)
            wait_until(lambda moved=moved: abs(shown(bob, "/dav/doc", "since") - moved) < CLOSE)
            ends = wall.now() + timedelta(seconds=after)
            wait_until(lambda ends=ends: abs(shown(bob, "/dav/doc", "expires_at") - ends) < CLOSE)
            assert bob.lock("/dav/doc").status == 423
            assert alice.put("/dav/doc", if_=f"(<{token}>)").status == 204
        refreshed = alice.request("LOCK", "/dav/doc", if_=f"(<{token}>)", timeout=f"Second-{TTL}")
        assert refreshed.status == 200
        assert TTL - 20 <= left(bob, "/dav/doc") <= TTL
        assert server.stop() == 0
    [event] = events_of(server.state)
    assert event.lock_id


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_restart_with_another_wall_clock_changes_nothing_either(tmp_path: Path, wall: Wall, offset: int) -> None:
    folder = tmp_path / "served"
    with start(folder, wall) as server:
        token = server.client("alice").locked("/dav/doc", timeout=f"Second-{TTL}")
        before = left(server.client("bob"), "/dav/doc")
        server.crash()
    wall.set(offset)
    with start(folder, wall) as server:
        alice, bob = server.client("alice"), server.client("bob")
        after = left(bob, "/dav/doc")
        assert before - 40 <= after <= before
        assert abs(shown(bob, "/dav/doc", "since") - wall.now()) < 2 * CLOSE
        assert alice.put("/dav/doc", if_=f"(<{token}>)").status == 204
        later = alice.locked("/dav/later", timeout=f"Second-{TTL}")
        assert later
        assert TTL - 20 <= left(bob, "/dav/later") <= TTL
        assert server.stop() == 0
    events = events_of(server.state)
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_lock_ends_by_the_time_that_passes_though_the_wall_clock_stands_still_or_runs_back(
    tmp_path: Path, wall: Wall
) -> None:
    """The other half: it is not kept alive by a clock that was set back."""
    with start(tmp_path / "served", wall) as server:
        alice, bob = server.client("alice"), server.client("bob")
        alice.locked("/dav/doc", timeout="Second-8")  # long enough for the next lines on a busy machine
        wall.set(-HOUR)
        assert bob.put("/dav/doc").status == 423
        wait_until(lambda: bob.put("/dav/doc").status == 204)
