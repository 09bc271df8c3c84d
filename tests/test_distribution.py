"""The wheel holds all that the package needs at run time, and the version stands in one place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import holdfast

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=PROJECT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.process
def test_the_wheel_has_every_file_of_the_package(wheel: Path):
    package = PROJECT / "src"
    needed = {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and ".egg-info" not in str(path)
    }
    packed = set(ZipFile(wheel).namelist())
    assert needed <= packed
    assert "holdfast/py.typed" in packed
    assert any(name.endswith(".sql") for name in packed)
    assert any(name.endswith(".html") for name in packed)


@pytest.mark.process
def test_the_wheel_has_the_package_s_version_and_command(wheel: Path):
    assert wheel.name.startswith(f"holdfast-{holdfast.__version__}-")
    with ZipFile(wheel) as packed:
        (entry_points,) = (name for name in packed.namelist() if name.endswith("entry_points.txt"))
        assert b"holdfast = holdfast.cli.main:main" in packed.read(entry_points)


@pytest.mark.process
def test_the_default_install_is_enough_to_serve(wheel: Path):
    """The server's modules and the command's import nothing that is not in the package's own dependencies, nor the client's library."""
    with ZipFile(wheel) as packed:
        (metadata,) = (name for name in packed.namelist() if name.endswith("METADATA"))
        lines = packed.read(metadata).decode().splitlines()
    required = {
        line.split(": ")[1].split("<")[0].split(">")[0].split("=")[0]
        for line in lines
        if line.startswith("Requires-Dist") and "extra ==" not in line
    }
    for name in ("pytest", "hypothesis", "requests"):
        assert name not in required
    code = "import sys, holdfast.server, holdfast.cli.main; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"pytest", "hypothesis", "httpx", "requests", "lxml"} & set(loaded.stdout.split())
