"""One server for the tests of a module: without users, or with some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.serving import Served, serving
from tests.simulator.wire import Seen, ask


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(
        tmp_path_factory.mktemp("simulated"),
        users=None,
        simulator_max_delay_s=5.0,
        simulator_max_size_bytes=300_000,
        simulator_max_body_bytes=200_000,
    ) as served:
        yield served


@pytest.fixture(scope="module")
def server_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("simulated")) as served:
        yield served


@pytest.fixture
def asked(open_server: Served) -> Callable[..., Seen]:
    """Ask the open server: `asked("/api/status/423", "LOCK")`."""
    return partial(ask, open_server.port)
