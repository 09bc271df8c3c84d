"""litmus, the WebDAV protocol test suite: all of it, with no failure, no warning and no skip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.programs.conftest import Serving, Start, run

pytestmark = [pytest.mark.process, pytest.mark.tool("litmus")]


@pytest.mark.parametrize("flags", [(), ("--durability", "crash", "--workers", "2")], ids=["default", "two-workers"])
def test_litmus_passes_without_failure_warning_or_skip(start: Start, tmp_path: Path, flags: tuple[str, ...]) -> None:
    serving: Serving = start(None, *flags)
    said = run("litmus", serving.url, "alice", "alice-secret", cwd=tmp_path)
    assert said.count("<- summary for") == 5
    assert re.findall(r"\b(FAIL|WARNING|SKIPPED)\b", said) == [], said
    for passed, total in re.findall(r"of (\d+) tests run: (\d+) passed", said):
        assert passed == total
