"""examples/express keeps the promises of its README, installed from its lock file and run by node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tests.examples.orders import Desk, Promises, page_block, refuses_as_the_page_says, standing, starting
from tests.serving import serving

pytestmark = [pytest.mark.process, pytest.mark.tool("node", "npm")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with what it needs."""
    folder = tmp_path_factory.mktemp("express") / "app"
    shutil.copytree(ROOT / "examples" / "express", folder, ignore=shutil.ignore_patterns("node_modules"))
    environment = {"npm_config_cache": str(Path.home() / ".npm"), "npm_config_update_notifier": "false"}
    installing = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    subprocess.run(installing, cwd=folder, env=os.environ | environment, check=True, capture_output=True, timeout=110)
    return folder


@pytest.fixture(scope="module")
def desk(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("served")
    with starting(["node", "server.js"], folder) as start, standing(place, start) as found:
        yield found


class TestExpress(Promises):
    """All of them."""


def test_the_page_leads_to_a_423(folder: Path, tmp_path: Path):
    """docs/frameworks/express.md; only its ports are others, and it says where it listens."""
    with serving(tmp_path, users=None) as server:
        text = page_block("express", "js").replace("http://127.0.0.1:4230", server.url)
        listening = "const server = app.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));"
        assert "app.listen(8000, '127.0.0.1');" in text
        (folder / "page.js").write_text(text.replace("app.listen(8000, '127.0.0.1');", listening))
        with starting(["node", "page.js"], folder) as start:
            refuses_as_the_page_says(start(server.url), server)
