"""A served folder on a real disk, and real mounts where they are permitted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.core.paths import ResourcePath
from holdfast.files import Folder
from tests.mounting import mount_tmpfs


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The served folder as the disk's owner sees it."""
    served = tmp_path / "served"
    served.mkdir()
    return served


@pytest.fixture(params=["openat2", "walk"])
def folder(disk: Path, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """The folder, served; once with the kernel's resolving and once with our own."""
    with Folder(disk, durable=False, use_openat2=request.param == "openat2") as served:
        yield served


@pytest.fixture
def put(folder: Folder) -> Callable[[str, bytes], bool]:
    def put_text(path: str, data: bytes) -> bool:
        staged = folder.staging.new()
        staged.write(data)
        staged.seal(len(data))
        return folder.place(staged, ResourcePath.from_text(path))[0]

    return put_text


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Mount an empty tmpfs on a folder, with options; skips where that is not permitted."""
    points: list[Path] = []

    def mount(point: Path, options: str = "size=4m") -> None:
        mount_tmpfs(point, options)
        points.append(point)

    yield mount
    for point in reversed(points):
        where = next((place for place in [point, *point.parent.parent.rglob("m")] if place.is_mount()), point)
        subprocess.run(["umount", "-l", str(where)], check=True)
