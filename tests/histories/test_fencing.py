"""The worked example of docs/fencing.md happens as it is told: without fencing an update is lost, with it none is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.conftest import ROOT, blocks

pytestmark = pytest.mark.process

PAGE = ROOT / "docs" / "fencing.md"


def test_a_stopped_writer_overwrites_without_fencing_and_is_refused_with_it() -> None:
    """Ann sleeps through the end of her lock while Bob writes; what the page shows is what is said, word for word."""
    command, shown = (
        next(found.text for found in blocks(PAGE) if found.language == wanted) for wanted in ("sh", "text")
    )
    program, script = command.split()
    assert program == "python"
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "unfenced: the balance is 110: 20 lost" in done.stdout
    assert "fenced: the balance is 130: nothing is lost" in done.stdout
    assert done.stdout == shown


def test_the_statement_that_the_page_recommends_is_the_one_in_the_example() -> None:
    [statement] = [found.text.strip() for found in blocks(PAGE) if found.language == "sql"]
    assert statement in (ROOT / "docs" / "examples" / "fencing" / "account.py").read_text()
