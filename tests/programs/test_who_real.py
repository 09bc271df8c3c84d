"""A person who types `holdfast who` gets the right name, whatever real program holds the file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.programs import peer
from tests.local.holding import running

pytestmark = pytest.mark.process


@pytest.fixture
def who(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Ask, in an own home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HOLDFAST_"))}
    environment |= {"HOME": str(tmp_path), "TERM": "dumb"}

    def who(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "holdfast", "who", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)

    return who


@pytest.mark.tool("flock")
def test_a_flock_in_a_shell(who, tmp_path: Path):
    file = tmp_path / "nightly.lock"
    with running(["flock", str(file), "bash", "-c", "echo ready; read line"]) as process:
        done = who(file)
    assert done.returncode == 0
    assert f"  {process.pid}  " in done.stdout
    assert "has locked it (flock, exclusive)" in done.stdout
    assert f"flock {file}" in done.stdout


@pytest.mark.tool("sqlite3")
def test_an_sqlite_writer(who, tmp_path: Path):
    database = tmp_path / "app.db"
    program = ["sqlite3", "-batch", str(database), "CREATE TABLE t (a)"]
    subprocess.run(program, check=True)
    process = subprocess.Popen(["sqlite3", "-batch", str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"BEGIN IMMEDIATE; INSERT INTO t VALUES (1);\nSELECT 'ready';\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        done = who(database)
    finally:
        process.communicate()
    assert done.returncode == 0
    assert "SQLite: is writing (RESERVED: readers go on)" in done.stdout
    assert f"sqlite3 -batch {database}" in done.stdout


def test_a_document_that_libreoffice_has_open(who, tmp_path: Path):
    """Its lock file, byte for byte as LibreOffice 7.4 writes it: name, account, host, date, profile."""
    document = tmp_path / "plan.odt"
    document.write_bytes(b"PK")
    (tmp_path / ".~lock.plan.odt#").write_text(
        "Ada Lovelace,ada,analytical,22.11.2026 10:15,file:///home/ada/.config/libreoffice/4;"
    )
    done = who(document)
    assert done.returncode == 0
    assert "Ada Lovelace on analytical" in done.stdout
    assert "has it open in LibreOffice" in done.stdout


@pytest.mark.tool("vim")
def test_a_text_that_vim_has_open(who, tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("notes\n")
    command = ["vim", "-u", "NONE", "-X", "--not-a-term", str(file)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "dumb"},
    )
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / ".notes.txt.swp").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        done = who(file)
    finally:
        process.kill()
        process.communicate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "has it open in Vim" in done.stdout
    assert f"  {process.pid}  " in done.stdout
    left = who(file)
    assert left.returncode == 1
    assert "left over" in left.stdout


@pytest.mark.tool("apache2")
@pytest.mark.tool("cadaver")
def test_what_cadaver_has_locked_on_apache(who, tmp_path: Path):
    with peer("apache") as base:
        (tmp_path / "plan.txt").write_text("a plan")
        script = f"open {base}/\nput {tmp_path / 'plan.txt'}\nlock plan.txt\n"
        process = subprocess.Popen(["cadaver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(script)
        process.stdin.flush()
        try:
            deadline = time.monotonic() + 30
            done = who(f"{base}/plan.txt")
            while done.returncode == 1 and time.monotonic() < deadline:
                done = who(f"{base}/plan.txt")
        finally:
            process.communicate("quit\n")
        assert done.returncode == 0, done.stderr
        assert "has locked it" in done.stdout
        assert "exclusive" in done.stdout
