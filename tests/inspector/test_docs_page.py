"""docs/inspector.md keeps its word: its example says what is said, and its tables have what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.main import main
from holdfast.inspector.framing import FAULTS
from holdfast.inspector.showing import FORMS
from tests.docs.conftest import ROOT, Block, blocks

PAGE = ROOT / "docs" / "inspector.md"


def block(language: str) -> Block:
    [found] = [each for each in blocks(PAGE) if each.language == language]
    return found


def test_the_first_look_says_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "locked.http").write_text(block("http").text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "--request-method", "PUT", "locked.http", "--brief"])
    assert ended.value.code == 1
    assert capsys.readouterr().out == block("text").text


def test_the_library_is_used_as_it_is_shown(capsys: pytest.CaptureFixture[str]):
    exec(compile(block("python").text, str(PAGE), "exec"), {})
    assert "H01 Retry-After is neither seconds nor a date" in capsys.readouterr().out


def test_each_fault_and_each_form_is_in_its_table():
    text = PAGE.read_text(encoding="utf-8")
    for code, meaning in FAULTS.items():
        assert f"| `{code}` | {meaning} |" in text
    for form in FORMS:
        assert f"| `{form}` | " in text
