"""`holdfast run`: never two commands at once, whatever is stopped or killed, and the kernel is the witness."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.running.tree import descendants, signal_each
from tests.survival.processes import ServerProcess
from tests.survival.run_arena import WORK

pytestmark = [pytest.mark.process, pytest.mark.serial]

SECONDS = float(os.environ.get("HOLDFAST_SOAK_S", "20"))
ROOT = Path(__file__).parents[2]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def start(tmp_path: Path, port: int = 0) -> ServerProcess:
    return ServerProcess.start(tmp_path / "served", tmp_path / "log", "--durability", "crash", users=(), port=port)


def note_server(arena: Path, server: ServerProcess) -> None:
    """Where the arena looks which process to stop."""
    new = arena / "server.new"
    new.write_text(str(server.process.pid))
    new.replace(arena / "server")


@contextmanager
def ended(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block, nor does anything that it has started."""
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            family = descendants(running.pid)
            running.kill()
            signal_each(family, signal.SIGKILL)


def told(running: subprocess.Popen[str], seconds: float) -> tuple[str, str] | None:
    """All that it has written, once it has ended; None where it runs on."""
    try:
        return running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


@pytest.mark.timeout(int(SECONDS) + 100)
def test_no_two_commands_run_at_once_while_runs_watchdogs_commands_and_the_server_are_stopped_and_killed(
    tmp_path: Path,
):
    """Now and then the server is killed, and another takes its place, on the same state.

    `HOLDFAST_SOAK_S` is for how many seconds; HOLDFAST_SEED repeats the choices of a run that failed.
    """
    arena = tmp_path / "arena"
    (tmp_path / "served").mkdir()
    arena.mkdir()
    seed = os.environ.get("HOLDFAST_SEED") or secrets.token_hex(4)
    words = [sys.executable, "-m", "tests.survival.run_arena"]
    chance = random.Random(f"server {seed}")
    crashes = 0
    server = start(tmp_path)
    host, port = server.address
    try:
        note_server(arena, server)
        words += [f"http://{host}:{port}", str(arena), str(SECONDS), seed]
        with ended(words) as running:
            while (heard := told(running, chance.uniform(5, 15))) is None:
                (arena / "server").unlink()
                server.crash()
                server = start(tmp_path, port)
                note_server(arena, server)
                crashes += 1
    finally:
        server.crash()
    said, errors = heard
    rounds = lines(arena / "rounds")
    print(f"seed {seed}: {len(rounds)} commands ran; {said.strip()}; server killed {crashes} times")
    assert running.returncode == 0, errors
    assert lines(arena / "violations") == [], f"seed {seed}"
    assert "Traceback" not in errors, errors
    assert len(rounds) >= SECONDS / 8, errors
    assert crashes


def test_the_witness_sees_two_commands_where_nobody_ends_the_first(tmp_path: Path):
    """What the test above would find, if a lease were nothing but a number."""
    (tmp_path / "served").mkdir()
    with start(tmp_path) as server:
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
