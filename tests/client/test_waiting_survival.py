"""Waiting goes on while the server is killed and started again, or hangs: what was asked for is done in the end, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from holdfast.client import Waiting, WaitPolicy, WaitTransport
from tests.client.cutting import Cutter, cutting
from tests.survival.processes import ServerProcess

pytestmark = pytest.mark.process

FLAGS = ("--durability", "crash")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.mkdir()
    (path / "plan.txt").write_text("old")
    return path


@contextmanager
def bob_puts(cutter: Cutter, answers: list[int]) -> Iterator[None]:
    """Bob reads the document and saves it, on a thread; the block begins once he waits, and its end joins him."""
    waits = threading.Event()

    def begun(_waiting: Waiting) -> None:
        waits.set()

    def work() -> None:
        policy = WaitPolicy(deadline=90, cap=0.5, on_wait=begun)
        with httpx.Client(transport=WaitTransport(policy), auth=("bob", "bob-secret"), base_url=cutter.url) as http:
            http.get("/dav/plan.txt")
            answers.append(http.put("/dav/plan.txt", content=b"bob's").status_code)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert waits.wait(60)
        yield
    finally:
        thread.join(100)
        assert not thread.is_alive()


def test_a_wait_outlives_a_killed_server(folder: Path, tmp_path: Path):
    answers: list[int] = []
    server = ServerProcess.start(folder, tmp_path / "log", *FLAGS)
    with cutting(server.address[1]) as cutter:
        token = server.client().locked("/dav/plan.txt")
        with bob_puts(cutter, answers):
            server.crash()
            again = ServerProcess.start(folder, tmp_path / "log", *FLAGS)
            cutter.target = again.address
            assert (folder / "plan.txt").read_text() == "old"
            assert again.client().unlock("/dav/plan.txt", token).status == 204
        assert answers == [204]
        assert (folder / "plan.txt").read_text() == "bob's"
        again.stop()


def test_a_wait_outlives_a_server_that_hangs_and_loses_no_update(folder: Path, tmp_path: Path):
    """Alice saves before she unlocks: after the wait bob is told so (412), and nothing of hers is overwritten."""
    answers: list[int] = []
    with ServerProcess.start(folder, tmp_path / "log", *FLAGS) as server, cutting(server.address[1]) as cutter:
        alice = server.client()
        token = alice.locked("/dav/plan.txt")
        with bob_puts(cutter, answers):
            server.process.send_signal(signal.SIGSTOP)
            cutter.cut()
            server.process.send_signal(signal.SIGCONT)
            assert alice.put("/dav/plan.txt", b"alice's", if_=f"(<{token}>)").status == 204
            assert alice.unlock("/dav/plan.txt", token).status == 204
        assert answers == [412]
        assert (folder / "plan.txt").read_text() == "alice's"
