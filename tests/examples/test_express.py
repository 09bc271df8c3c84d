"""examples/express keeps the promises of its README, installed from its lock file and run by node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tests.examples.orders import Desk, Promises, standing, starting

pytestmark = [pytest.mark.process, pytest.mark.tool("node", "npm"), pytest.mark.xdist_group("express")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("express")
    folder = place / "app"
    shutil.copytree(ROOT / "examples" / "express", folder, ignore=shutil.ignore_patterns("node_modules"))
    environment = {"npm_config_cache": str(Path.home() / ".npm"), "npm_config_update_notifier": "false"}
    installing = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    subprocess.run(installing, cwd=folder, env=os.environ | environment, check=True, capture_output=True, timeout=110)
    with starting(["node", "server.js"], folder) as start, standing(place / "served", start) as found:
        yield found


class TestExpress(Promises):
    """All of them."""
