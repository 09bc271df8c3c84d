"""`holdfast run`: never two commands at once, whatever is stopped or killed, and the kernel is the witness."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.survival.processes import ServerProcess
from tests.survival.run_arena import WORK

pytestmark = [pytest.mark.process, pytest.mark.serial]

SECONDS = float(os.environ.get("HOLDFAST_SOAK_S", "20"))
ROOT = Path(__file__).parents[2]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.timeout(int(SECONDS) + 100)
def test_no_two_commands_run_at_once_while_runs_watchdogs_commands_and_the_server_are_stopped_and_killed(
    tmp_path: Path,
):
    """`HOLDFAST_SOAK_S` is for how many seconds; HOLDFAST_SEED repeats the choices of a run that failed."""
    arena = tmp_path / "arena"
    (tmp_path / "served").mkdir()
    arena.mkdir()
    seed = os.environ.get("HOLDFAST_SEED") or secrets.token_hex(4)
    with ServerProcess.start(tmp_path / "served", tmp_path / "log", "--durability", "crash", users=()) as server:
        url = f"http://{server.address[0]}:{server.address[1]}"
        words = [
            sys.executable,
            "-m",
            "tests.survival.run_arena",
            url,
            arena,
            str(SECONDS),
            seed,
            str(server.process.pid),
        ]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 60)
    rounds = lines(arena / "rounds")
    print(f"seed {seed}: {len(rounds)} commands ran; {done.stdout.strip()}")
    assert done.returncode == 0, done.stderr
    assert lines(arena / "violations") == [], f"seed {seed}"
    assert "Traceback" not in done.stderr, done.stderr
    assert len(rounds) >= SECONDS / 4, done.stderr


def test_the_witness_sees_two_commands_where_nobody_ends_the_first(tmp_path: Path):
    """What the test above would find, if a lease were nothing but a number."""
    (tmp_path / "served").mkdir()
    with ServerProcess.start(tmp_path / "served", tmp_path / "log", "--durability", "crash", users=()) as server:
        url = f"http://{server.address[0]}:{server.address[1]}"
        body = b'{"resource": "/jobs/arena", "ttl": 1}'
        assert server.client().request("POST", "/api/locks", body, content_type="application/json").status == 201
        work = ["sh", "-c", WORK, "work", "long", str(tmp_path)]
        careless = subprocess.Popen(work, env=os.environ | {"HOLDFAST_FENCING_TOKEN": "1"}, start_new_session=True)
        try:
            until = time.monotonic() + 30
            while not lines(tmp_path / "rounds") and time.monotonic() < until:
                careless.poll()
            run = [sys.executable, "-m", "holdfast", "run", "arena", "--server", url, "--", *work]
            assert subprocess.run(run, timeout=60, check=False).returncode == 1
        finally:
            os.killpg(careless.pid, signal.SIGKILL)
            careless.wait()
    assert len(lines(tmp_path / "violations")) == 1
