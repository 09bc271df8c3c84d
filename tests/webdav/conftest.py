"""A folder served to alice and bob (writers), rita (a reader) and root (an administrator)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Client, Served, serving
from tests.webdav.rooms import Room, new_room


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def alice(served: Served) -> Client:
    return served.as_("alice")


@pytest.fixture
def bob(served: Served) -> Client:
    return served.as_("bob")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of a module; each works in a Room of its own."""
    with serving(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
def room(shared: Served) -> Room:
    return new_room(shared)
