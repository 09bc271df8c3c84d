"""docs/client.md keeps its word: its examples run, in order, against a server on which alice has the document."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.access import Role
from tests.docs.conftest import ROOT, blocks
from tests.serving import serving

PAGE = ROOT / "docs" / "client.md"


def run(text: str, url: str) -> dict[str, object]:
    names: dict[str, object] = {}
    text = text.replace("http://127.0.0.1:4230", url).replace('("bob", "builder")', '("bob", "bob-secret")')
    exec(compile(text, str(PAGE), "exec"), names)
    return names


def test_each_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    python = [found for found in blocks(PAGE) if found.language == "python"]
    assert [found.heading for found in python] == ["Read a 423", "Wait it out", "Hold a lock", "Hold a lock"]
    (tmp_path / "plan.txt").write_text("a plan\n")
    with serving(tmp_path, users={"alice": Role.WRITER, "bob": Role.WRITER}) as served:
        alice = served.as_("alice")
        token = alice.locked("/dav/plan.txt")
        run(python[0].text, served.url)
        assert "/dav/plan.txt is locked by alice until" in capsys.readouterr().out
        alice.unlock("/dav/plan.txt", token)
        names = run(python[1].text, served.url)
        names["http"].close()  # type: ignore[attr-defined]
        assert capsys.readouterr().out == "204 0.0\n"
        assert (tmp_path / "plan.txt").read_text() == "a plan\none more line\n"
        run(python[2].text, served.url)
        assert int(capsys.readouterr().out.split()[0]) > 1
        run(python[3].text, served.url)
        assert (tmp_path / "plan.txt").read_text() == "all new\n"
        assert alice.put("/dav/plan.txt", b"free").status == 204
