"""docs/databases-retry.md and docs/lock-table.md keep their word: their examples run, in order, in an empty folder."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from sqlalchemy import Engine

from holdfast.databases import LockTable
from tests.docs.conftest import ROOT, blocks


def run(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            names: dict[str, object] = {}
            exec(compile(block.text, str(page), "exec"), names)
            for value in names.values():
                if isinstance(value, Engine):
                    value.dispose()
                elif isinstance(value, LockTable):
                    value.engine.dispose()
            names.clear()
            gc.collect()


def test_each_example_about_retries_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "databases-retry.md")
    assert capsys.readouterr().out.split("\n") == ["25", "423 2", ""]


def test_each_example_of_the_lock_table_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "lock-table.md")
    said = capsys.readouterr().out.split("\n")
    assert said[0].startswith("ada has locked /orders/42 since ")
    assert said[1:] == ["1 1", "1", "1", ""]
