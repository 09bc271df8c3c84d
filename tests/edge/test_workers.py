"""Worker processes: several serve, a dead one is replaced, none outlives its parent."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import wait

import pytest

from holdfast.edge.workers import _signal_pipe
from tests.edge.tiny import PATIENCE_S, Client, wait_until

pytestmark = pytest.mark.process

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def started(settings="sound"):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.edge.worker_app", settings], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()


def ask(port: int, target: str = "/dav/pid") -> int:
    """The pid of the worker that answers on a new connection."""
    with Client(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) as client:
        return int(client.ask("GET", target).body)


def pids(port: int) -> set[int]:
    """Two workers' pids."""
    found: set[int] = set()
    wait_until(lambda: found.add(ask(port)) or len(found) == 2)
    return found


def is_running(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_workers_serve_one_port_and_stop_cleanly(number):
    with started() as process:
        workers = pids(int(process.stdout.readline()))
        assert process.pid not in workers
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
        assert not any(is_running(pid) for pid in workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_alone_stops_cleanly(number):
    with started("single") as process:
        assert ask(int(process.stdout.readline())) == process.pid
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == "stopped\n"


def test_workers_that_stop_answer_what_is_parked_and_end_what_is_streamed():
    with started() as process:
        port = int(process.stdout.readline())
        workers = pids(port)
        parked = [Client(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) for _ in range(10)]
        streamed = [Client(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) for _ in range(10)]
        for client in parked:
            client.request("POST", "/dav/park")
        for client in streamed:
            client.request("GET", "/dav/live")
            client.head()
            assert int(client.chunk()) in workers
        assert pids(port) == workers
        process.send_signal(signal.SIGTERM)
        for client in parked:
            assert client.answer().status == 423
            client.socket.close()
        for client in streamed:
            assert client.chunk() == b""
            assert client.rest() == b""
            client.socket.close()
        assert process.wait(PATIENCE_S) == 0


def test_a_signal_that_does_not_wake_the_main_thread_is_heard():
    """As one does not that comes right before that thread begins to wait; here another thread takes it."""
    stat = pathlib.Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")

    def take_signal() -> None:
        wait_until(lambda: stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "S")
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    thread = threading.Thread(target=take_signal)
    with _signal_pipe() as signals:
        thread.start()
        assert wait([signals], PATIENCE_S)
    thread.join()


def test_a_worker_that_dies_is_replaced_and_the_port_stays_open():
    with started() as process:
        port = int(process.stdout.readline())
        before = pids(port)
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not is_running(victim))
        after = pids(port)
        assert before < after
        assert victim not in after
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_workers_end_when_their_parent_is_killed():
    with started() as process:
        workers = pids(int(process.stdout.readline()))
        process.kill()
        process.wait(PATIENCE_S)
        wait_until(lambda: not any(is_running(pid) for pid in workers))


def test_workers_that_cannot_start_end_the_parent_with_an_error():
    with started("broken") as process:
        assert process.wait(PATIENCE_S) == 1
        assert process.stdout.read() == "stopped 1\n"
