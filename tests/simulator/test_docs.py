"""docs/simulator.md keeps its word: its commands give the statuses behind them, and it tells of each option and fault."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from holdfast.faces.simulator.lock_options import LOCK_OPTIONS
from holdfast.faces.simulator.options import OPTIONS, Fault
from holdfast.inspector.exchange import Exchange, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from holdfast.testing.simulated import simulating
from holdfast.wire.statuses import REGISTERED_CODES
from tests.docs.conftest import ROOT, blocks
from tests.serving import serving
from tests.simulator.clients import CLIENTS
from tests.simulator.wire import ask

_DEPRECATED = 305
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


def test_asked_for_as_the_table_says_the_inspector_has_nothing_to_say(tmp_path: Path):
    """And only where it must be: each code of the table is refused, or has a note, without."""
    rows = {
        int(code): flags
        for code, flags in re.findall(r"^\| ([1-5][0-9]{2}) \| `([^`]*)` \|", PAGE.read_text(), re.MULTILINE)
    }
    with serving(tmp_path, users=None) as served:
        plain = {code: _request(served.url, code, "") for code in REGISTERED_CODES if code != _DEPRECATED}
        as_told = {code: _request(served.url, code, flags) for code, flags in rows.items()}
        noted = {code: _notes(request, tmp_path) for code, request in plain.items()}
        assert {code for code, notes in noted.items() if notes} == set(rows)
        assert {code: notes for code, request in as_told.items() if (notes := _notes(request, tmp_path))} == {}


def _request(base: str, code: int, flags: str) -> SentRequest:
    """What curl would send with these flags, of which -X and -H are known."""
    words = iter(shlex.split(flags))
    method, fields = "GET", list[tuple[str, str]]()
    for flag in words:
        value = next(words)
        if flag == "-X":
            method = value
        else:
            assert flag == "-H"
            name, _, text = value.partition(": ")
            fields.append((name, text))
    return SentRequest(method=method, url=f"{base}/api/status/{code}", fields=tuple(fields))


def _notes(request: SentRequest, folder: Path) -> list[str]:
    """What is said against the answer, and the refusal where it is not the one that was asked for."""
    [seen] = CLIENTS["socket"]([request], folder)
    assert isinstance(seen, Exchange)
    if not seen.response.values("x-simulated"):
        return [f"refused with {seen.response.status}"]
    return [f"{note.rule} {note.summary}" for note in inspect(seen).notes if note.level in {Level.BAD, Level.WARN}]


def test_the_plugin_is_named_as_it_is_installed():
    [[name, module]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "pytest11"
    ].items()
    assert f'`{name} = "{module}"`' in PAGE.read_text()


def test_the_simulator_alone_has_what_is_told():
    with simulating() as server:
        port = int(server.base_url.rpartition(":")[2])
        for target in ("/simulator", "/api/locks", "/docs", "/openapi.json"):
            assert ask(port, target).head.status == 200
        assert ask(port, "/metrics").head.status == 404
        assert ask(port, "/inspect").head.status == 404
