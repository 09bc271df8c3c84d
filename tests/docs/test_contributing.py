"""CONTRIBUTING.md's recipe for a store can be typed in as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT

pytestmark = pytest.mark.process


def test_the_test_of_a_store_runs_as_it_is_shown(tmp_path: Path):
    """With the memory store in place of the one to be written."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    lines = page.partition("### A store\n")[2].partition("   ```python\n")[2].partition("   ```\n")[0].splitlines()
    shown = "\n".join(line.removeprefix("   ") for line in lines) + "\n"
    assert 'MyStore(place / "locks", clock)' in shown
    test = shown.replace("holdfast.store.mystore", "holdfast.store.memory")
    test = test.replace("import MyStore", "import MemoryStore").replace(
        'MyStore(place / "locks", clock)', "MemoryStore(clock)"
    )
    (tmp_path / "test_mystore.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", tmp_path],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
