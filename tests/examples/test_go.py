"""examples/go keeps the promises of its README, built from the standard library alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tests.examples.orders import Desk, Promises, page_block, refuses_as_the_page_says, standing, starting
from tests.serving import serving

pytestmark = [pytest.mark.process, pytest.mark.tool("go")]

SOURCE = ROOT / "examples" / "go"


def build(source: Path, program: Path) -> None:
    environment = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    building = ["go", "build", "-o", str(program), "."]
    subprocess.run(building, cwd=source, env=environment, check=True, capture_output=True, timeout=110)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("go")
    build(SOURCE, place / "orders")
    with starting([str(place / "orders")], place) as start, standing(place / "served", start) as found:
        yield found


class TestGo(Promises):
    """All of them."""


def test_it_is_formatted_as_go_is():
    said = subprocess.run(["gofmt", "-l", "."], cwd=SOURCE, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == ""


def test_the_page_leads_to_a_423(tmp_path: Path):
    """docs/frameworks/go.md; only its ports are others."""
    source, served = tmp_path / "source", tmp_path / "served"
    source.mkdir()
    served.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    with serving(served, users=None) as server:
        text = page_block("go", "go").replace("http://127.0.0.1:4230", server.url).replace("127.0.0.1:8000", place)
        (source / "main.go").write_text(text)
        for name in ("locks.go", "go.mod"):
            shutil.copy(SOURCE / name, source)
        build(source, tmp_path / "orders")
        process = subprocess.Popen([tmp_path / "orders"])
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    socket.create_connection(tuple(place.split(":")), 1).close()
                    break
            refuses_as_the_page_says(f"http://{place}", server)
        finally:
            process.kill()
            process.wait()
