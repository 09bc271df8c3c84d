"""Small disks that a test may fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mounting import mounted_tmpfs

SmallDisk = Callable[..., Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """`small_disk("name", mib=4)`: an empty file system of that size, in memory."""
    with ExitStack() as stack:

        def mount(name: str, mib: int = 4) -> Path:
            return stack.enter_context(mounted_tmpfs(tmp_path / name, f"size={mib}m"))

        yield mount
