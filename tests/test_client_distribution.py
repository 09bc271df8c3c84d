"""The client as a distribution of its own: it has all that it imports, nothing of the server, and works from a new environment."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import holdfast
from tests.serving import serving

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src"

SERVER_S_OWN = {
    "argon2-cffi", "cyclopts", "holdfast", "httptools", "jinja2", "lxml", "prometheus-client", "rich", "starlette", "uvicorn", "uvloop",
}  # fmt: skip

PROGRAM = """
import importlib, json, pkgutil, sys
from importlib.metadata import distributions
import holdfast.client
from holdfast.client import Client, DavLock, LockedError, raise_for_locked

for found in pkgutil.walk_packages(holdfast.client.__path__, "holdfast.client."):
    if found.name != "holdfast.client.adapter_requests":  # for those who have requests
        importlib.import_module(found.name)
with Client(sys.argv[1]) as client:
    with client.lock("/orders/42", ttl=30, reason="nightly import") as held:
        held.ensure()
        fencing_token = held.fencing_token
        try:
            client.acquire("/orders/42")
        except LockedError as error:
            refused = str(error)
with DavLock(sys.argv[1] + "/dav/plan.txt") as held:
    held.put(b"all new")
print(json.dumps({
    "installed": sorted(one.metadata["Name"].lower() for one in distributions()),
    "from": holdfast.__file__,
    "fencing_token": fencing_token,
    "refused": refused,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client-wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=PROJECT / "packaging" / "client", check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


def file_of(module: str) -> Path | None:
    """The file of a module or package of ours; None for a name in one."""
    place = SOURCE.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def imported_by(file: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it, and the packages around them."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    found: set[str] = set()
    for name in named:
        parts = name.split(".")
        if parts[0] == "holdfast":
            found |= {".".join(parts[: end + 1]) for end in range(len(parts))}
    return {name for name in found if file_of(name) is not None}


def needed() -> set[str]:
    """Every file of the client, and all that these import, as they are named in a wheel."""
    todo = set((SOURCE / "holdfast" / "client").rglob("*.py"))
    files: set[Path] = set()
    while todo:
        file = todo.pop()
        files.add(file)
        todo |= {path for name in imported_by(file) if (path := file_of(name)) is not None} - files
    return {str(path.relative_to(SOURCE)) for path in files}


@pytest.mark.process
def test_it_has_what_the_client_imports_and_no_more_and_each_file_is_that_of_the_main_distribution(wheel: Path):
    assert wheel.name.startswith(f"holdfast_client-{holdfast.__version__}-")
    with ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        assert names == needed() | {"holdfast/py.typed"}
        assert [name for name in sorted(names) if packed.read(name) != (SOURCE / name).read_bytes()] == []


@pytest.mark.process
@pytest.mark.timeout(300)
def test_it_locks_from_a_new_environment_without_anything_that_the_server_runs_on(wheel: Path, tmp_path: Path):
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", users=None) as served:
        done = subprocess.run(
            [python, "-I", "-W", "error", "-c", PROGRAM, served.url], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert (served.folder / "plan.txt").read_bytes() == b"all new"
    told = json.loads(done.stdout)
    assert Path(told["from"]).is_relative_to(home)
    assert {"holdfast-client", "httpx", "msgspec"} <= set(told["installed"])
    assert not SERVER_S_OWN & set(told["installed"])
    assert told["fencing_token"] > 0
    assert told["refused"].startswith("/orders/42 is locked")
