"""Several server processes on one port: a sequence goes on, and a lock is the same, whichever of them is asked."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.simulator.wire import ask
from tests.survival.processes import ServerProcess

pytestmark = pytest.mark.process


def test_workers_share_sequences_and_a_new_server_begins_anew(tmp_path: Path):
    folder = tmp_path / "served"
    folder.mkdir()
    for _ in range(2):
        server = ServerProcess.start(folder, tmp_path / "log", "--workers", "2", "--durability", "crash", users=())
        try:
            port = server.address[1]
            with ThreadPoolExecutor(8) as pool:
                seen = list(pool.map(partial(ask, port), ["/api/status/500?seq=423x30,200&key=shared"] * 50))
            assert Counter(one.head.status for one in seen) == {423: 30, 200: 20}
        finally:
            assert server.stop() == 0


def test_a_real_lock_is_the_same_for_all_workers_and_outlives_them(tmp_path: Path):
    folder = tmp_path / "served"
    folder.mkdir()
    flags = ("--workers", "2", "--durability", "crash")
    server = ServerProcess.start(folder, tmp_path / "log", *flags, users=())
    try:
        port = server.address[1]
        with ThreadPoolExecutor(8) as pool:
            begun = list(pool.map(lambda n: ask(port, f"/api/status/423?lock=one&for=1h&holder=H{n}").json, range(24)))
            assert len({one["locks"][0]["id"] for one in begun}) == 1
            wait = {"Prefer": "wait=60"}
            parked = [pool.submit(ask, port, "/api/status/423?lock=one", headers=wait) for _ in range(4)]
            while len(ask(port, "/api/status/locks/one").json["waiting"]) < 4:
                pass
            assert ask(port, "/api/status/locks/one", "DELETE").head.status == 204
            assert [one.result(20).head.status for one in parked] == [200] * 4
        assert {ask(port, "/api/status/423?lock=one").head.status for _ in range(8)} == {200}
        assert ask(port, "/api/status/locks/one?for=1h", "PUT", b"").head.status == 201
    finally:
        assert server.stop() == 0
    server = ServerProcess.start(folder, tmp_path / "log", *flags, users=())
    try:
        assert ask(server.address[1], "/api/status/423?lock=one").head.status == 423
    finally:
        assert server.stop() == 0
