"""docs/settings.md and docs/commands.md say what the program says: every setting, command and flag."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType

import pytest

from holdfast.config import describe_settings
from tests.docs.conftest import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "commands.md"])
def test_the_page_is_as_the_program_is_now(reference, name):
    """Where this fails, `.venv/bin/python docs/reference.py` writes the page anew."""
    assert (DOCS / name).read_text() == reference.PAGES[name]()


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.name)
def test_each_setting_is_documented(setting):
    assert f"| `{setting.name}` |" in (DOCS / "settings.md").read_text()


def test_each_flag_that_help_shows_is_documented(reference):
    """Asked from outside, so that a flag which the generator cannot see is missed here."""
    page = (DOCS / "commands.md").read_text()
    seen = 0
    for name, _ in reference.commands(reference.app):
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert section
        command = [sys.executable, "-m", *name.split(), "--help"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said)) - {"--help", "--version"}
        assert flags, said
        assert {flag for flag in flags if f"| `{flag}` |" not in section} == set()
        seen += len(flags)
    assert seen > 10


def test_no_default_is_told_twice_or_empty():
    page = (DOCS / "commands.md").read_text()
    assert "Default: ." not in page
    assert [line for line in page.splitlines() if line.count("Default:") > 1] == []
