"""Small disks that a test may fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SmallDisk = Callable[..., Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """`small_disk("name", mib=4)`: an empty file system of that size, in memory."""
    mounted: list[Path] = []

    def mount(name: str, mib: int = 4) -> Path:
        path = tmp_path / name
        path.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root may mount the small disk that this fills")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "holdfast-test", path], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"the small disk that this fills cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", path], check=True)
