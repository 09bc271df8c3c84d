"""The programs in docs/openapi/README.md do what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT, blocks
from tests.serving import serving

PROGRAMS = [block.text for block in blocks(ROOT / "docs" / "openapi" / "README.md") if block.language == "python"]


def test_each_program_compiles() -> None:
    assert len(PROGRAMS) == 2
    for program in PROGRAMS:
        compile(program, "README.md", "exec")


@pytest.mark.process
def test_the_lock_of_the_page_stops_others(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as served:
        (tmp_path / "test_page.py").write_text(
            PROGRAMS[1].replace("http://127.0.0.1:4230", served.url), encoding="utf-8"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
            tmp_path / "test_page.py",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
