"""examples/go keeps the promises of its README, built from the standard library alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.docs.conftest import ROOT
from tests.examples.orders import Desk, Promises, standing, starting

pytestmark = [pytest.mark.process, pytest.mark.tool("go"), pytest.mark.xdist_group("go")]

SOURCE = ROOT / "examples" / "go"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("go")
    environment = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    building = ["go", "build", "-o", str(place / "orders"), "."]
    subprocess.run(building, cwd=SOURCE, env=environment, check=True, capture_output=True, timeout=110)
    with starting([str(place / "orders")], place) as start, standing(place / "served", start) as found:
        yield found


class TestGo(Promises):
    """All of them."""


def test_it_is_formatted_as_go_is():
    said = subprocess.run(["gofmt", "-l", "."], cwd=SOURCE, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == ""
