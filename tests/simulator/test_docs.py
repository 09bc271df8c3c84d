"""docs/simulator.md keeps its word: its commands give the statuses behind them, and it tells of each option and fault."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from holdfast.faces.simulator.lock_options import LOCK_OPTIONS
from holdfast.faces.simulator.options import OPTIONS, Fault
from tests.docs.conftest import ROOT, blocks
from tests.serving import serving

PAGE = ROOT / "docs" / "simulator.md"


@pytest.mark.tool("curl")
def test_each_command_gives_the_status_behind_it(tmp_path: Path):
    lines = [line for block in blocks(PAGE) if block.language == "sh" for line in block.text.splitlines()]
    assert len(lines) > 10
    with serving(tmp_path, users=None) as served:
        for line in lines:
            command, _, status = line.partition("#")
            words = shlex.split(command.replace("http://127.0.0.1:4230", served.url))
            quiet = [*words, "-sS", "-o", str(tmp_path / "body"), "-w", "%{http_code}"]
            done = subprocess.run(quiet, capture_output=True, text=True, timeout=30, check=True)
            assert done.stdout == status.strip(), line


def test_each_option_and_fault_is_told():
    told = set(re.findall(r"`([a-z_]+)(?:=[^`]*)?`", PAGE.read_text()))
    assert {*OPTIONS, *LOCK_OPTIONS} <= told
    assert {fault.value for fault in Fault} <= set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE))
