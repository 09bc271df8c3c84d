"""The client's types, as the checkers of people who use it see them: a right program is right, wrong ones are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("typed") / "program.py"
BIN = Path(sys.executable).parent
CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-incremental", "--cache-dir=/dev/null", f"--python-executable={sys.executable}"),
    "ty": ("ty", "check", "--python", str(BIN.parent), "--no-progress"),
    "pyright": ("basedpyright", "--level=error", f"--pythonpath={sys.executable}"),
}

pytestmark = [pytest.mark.process]


def check(checker: str, program: Path) -> subprocess.CompletedProcess[str]:
    name, *arguments = CHECKERS[checker]
    command = [str(BIN / name), *arguments, str(program)]
    return subprocess.run(command, cwd=program.parent, capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_right_program_is_right(checker: str, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text())
    done = check(checker, program)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_wrong_program_is_found_wrong(checker: str, tmp_path: Path):
    """What is given and what comes back are typed: neither is anything at all to the checker."""
    program = tmp_path / "program.py"
    text = PROGRAM.read_text()
    wrong = text.replace("ttl=30, wait=60, reason", 'ttl="30", wait=60, reason').replace(
        "return bool(held.token)", "return held.token"
    )
    assert wrong.count("\n") == text.count("\n")
    program.write_text(wrong)
    done = check(checker, program)
    assert done.returncode != 0
    lines = [
        number for number, line in enumerate(wrong.splitlines(), 1) if 'ttl="30"' in line or "return held.token" in line
    ]
    for number in lines:
        assert f"program.py:{number}:" in done.stdout, done.stdout
