"""One server for a module of attacks; after each it must be well, and its memory bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.hostile import Target
from tests.survival.processes import ServerProcess

GROWTH_KIB = 32 * 1024
"""How much the resident memory of the server may grow by any one attack, and stay so."""
GROWTH_IN_ALL_KIB = 96 * 1024
"""And by all of a module together."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked") / "served"
    folder.mkdir()
    (folder / "doc").write_text("text")
    (folder / "coll").mkdir()
    (folder.parent / "secret").write_text("secret")
    with ServerProcess.start(folder, folder.parent / "log", "--durability", "crash") as server:
        target = Target(server)
        assert target.is_well()
        before = server.resident_kib()
        yield target
        assert server.resident_kib() - before < GROWTH_IN_ALL_KIB
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def target(attacked: Target) -> Iterator[Target]:
    before = attacked.server.resident_kib()
    yield attacked
    assert attacked.is_well()
    assert attacked.server.resident_kib() - before < GROWTH_KIB
    assert (attacked.server.folder.parent / "secret").read_text() == "secret"
    assert (attacked.server.folder / "doc").read_text() == "text"
