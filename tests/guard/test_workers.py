"""A guard of several processes keeps the promises of one."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.edge.tiny import wait_until
from tests.guard.conftest import Noting
from tests.guard.test_counting import METRICS, counted, of_requests
from tests.guard.test_upgrading import guard_process

pytestmark = pytest.mark.process

MANY = 16


def workers_of(process: int) -> set[int]:
    """The worker processes of a guard."""
    found = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if b"spawn_main" in command_of(child)}


def command_of(process: int) -> bytes:
    """Its command line; empty once it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_two_workers_that_race_grant_one_lock_and_keep_it(tmp_path: Path, application: Noting):
    with guard_process(application.url, tmp_path, "--workers", "2") as (process, port):
        url = f"http://127.0.0.1:{port}"
        # As many connections at once as there are threads: both workers get some.
        with ThreadPoolExecutor(MANY) as threads, httpx.Client(base_url=url, timeout=30) as client:
            for number in range(4):
                resource = f"/orders/{number}"
                together = threading.Barrier(MANY)

                def take(name: int, resource: str = resource, together: threading.Barrier = together) -> int:
                    together.wait(30)
                    members = {"resource": resource, "ttl": 600, "reason": str(name)}
                    return httpx.post(f"{url}/api/locks", json=members, timeout=30).status_code

                assert Counter(threads.map(take, range(MANY))) == {201: 1, 423: MANY - 1}

                def put(_name: int, resource: str = resource) -> int:
                    return httpx.put(url + resource, content=b"x", timeout=30).status_code

                assert Counter(threads.map(put, range(MANY))) == {423: MANY}
            assert application.seen == []
            # Of both, whichever is asked; the other's newest numbers are known within a second.
            wait_until(lambda: counted(client.get(METRICS).text)[of_requests("guard", "PUT", 423)] == 4 * MANY)
            found = counted(client.get(METRICS).text)
            assert found[of_requests("api", "POST", 201)] == 4
            assert found[of_requests("api", "POST", 423)] == 4 * (MANY - 1)
            assert found["holdfast_grants_total"] == 4
        victim = min(workers_of(process.pid))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(workers_of(process.pid) - {victim}) == 2)
        assert httpx.put(f"{url}/orders/0", content=b"x", timeout=30).status_code == 423
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_who_waits_at_one_worker_gets_what_is_released_at_the_other(tmp_path: Path, application: Noting):
    with guard_process(application.url, tmp_path, "--workers", "2") as (_, port):
        url = f"http://127.0.0.1:{port}"

        def take(_number: int) -> dict[str, str]:
            members = {"resource": "/orders/42", "ttl": 600, "wait": 30}
            answer = httpx.post(f"{url}/api/locks", json=members, timeout=60)
            assert answer.status_code == 201, answer.text
            lock = json.loads(answer.text)
            written = httpx.put(f"{url}/orders/42", headers={"If": f"(<{lock['token']}>)"}, content=b"x", timeout=30)
            assert written.text == "from app"
            released = httpx.delete(
                f"{url}/api/locks/{lock['id']}", headers={"Lock-Token": f"<{lock['token']}>"}, timeout=30
            )
            assert released.is_success
            return lock

        with ThreadPoolExecutor(8) as threads:
            locks = list(threads.map(take, range(8)))
    assert len({lock["fencing_token"] for lock in locks}) == 8
    assert [line for line, _ in application.seen] == ["PUT /orders/42"] * 8
