"""Several server processes on one port: a sequence goes on, whichever of them is asked."""

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
