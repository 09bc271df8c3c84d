"""deploy/: the unit and the image start the server with flags that it knows, and the unit is as hardened as it says."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.conftest import ROOT, blocks

pytestmark = pytest.mark.process

UNIT = ROOT / "deploy" / "holdfast.service"
IMAGE = ROOT / "deploy" / "Containerfile"
OPERATIONS = ROOT / "docs" / "operations.md"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(UNIT)
    return parser


def json_line(word: str) -> list[str]:
    """The arguments of an instruction of the Containerfile in its JSON form."""
    [found] = re.findall(rf"^{word} (\[.*\])$", IMAGE.read_text(), re.MULTILINE)
    return json.loads(found)


def moved(arguments: list[str], places: dict[str, Path]) -> list[str]:
    """The arguments with the machine's places replaced by the test's; each must occur."""
    assert set(places) <= set(arguments)
    return [str(places.get(argument, argument)) for argument in arguments]


@pytest.fixture
def users(run, tmp_path: Path) -> Path:
    file = tmp_path / "users.json"
    run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n")
    return file


def test_the_unit_s_command_serves(serve, users: Path, folder: Path, tmp_path: Path):
    program, word, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    assert Path(program).name == "holdfast"
    assert word == "serve"
    places = {"/srv/holdfast": folder, "/var/lib/holdfast": tmp_path / "state", "/etc/holdfast/users.json": users}
    server = serve(*moved(arguments, places))
    assert any("users" in line and "alice" in line for line in server.lines)


def test_the_unit_may_write_what_its_command_names():
    service = unit()["Service"]
    assert service["StateDirectory"] == "holdfast"
    assert "--state /var/lib/holdfast" in service["ExecStart"]
    assert f"serve {service['ReadWritePaths']} " in service["ExecStart"]


def test_a_refusal_to_start_is_not_repeated(run):
    assert str(run("serve", "/nonexistent").returncode) == unit()["Service"]["RestartPreventExitStatus"]


@pytest.mark.tool("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(tmp_path: Path):
    program = tmp_path / "holdfast"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / "holdfast.service"
    copy.write_text(UNIT.read_text().replace("/opt/holdfast/bin/holdfast", str(program)))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", copy],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert exposed.returncode == 0, exposed.stdout


def test_the_image_s_command_serves_and_its_health_check_passes(serve, users: Path, folder: Path, tmp_path: Path):
    assert Path(json_line("ENTRYPOINT")[0]).name == "holdfast"
    word, *arguments = json_line("CMD")
    assert word == "serve"
    places = {"/documents": folder, "/state": tmp_path / "state", "/config/users.json": users}
    server = serve(*moved(arguments, places))
    port = urlsplit(server.webdav_url).port
    _, *check = json_line("HEALTHCHECK .* CMD")
    check = [part.replace("127.0.0.1:4230", f"127.0.0.1:{port}") for part in check]
    assert str(port) in check[-1]
    assert subprocess.run([sys.executable, *check], timeout=30).returncode == 0
    server.stop()
    assert subprocess.run([sys.executable, *check], capture_output=True, timeout=30).returncode != 0


def test_the_image_is_made_of_what_the_checkout_has_and_runs_without_rights():
    text = IMAGE.read_text()
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / part).exists() for part in source.split())
    assert re.search(r"^USER 4230:4230$", text, re.MULTILINE)


def test_every_holdfast_command_in_the_document_is_one_that_the_program_knows(run):
    said = "\n".join(block.text for block in blocks(OPERATIONS) if block.language == "sh")
    seen: set[tuple[str, ...]] = set()
    for line in said.replace("\\\n", " ").splitlines():
        found = re.search(
            r"(?:^|/|holdfast )holdfast ((?:users|tokens) \w+|check|backup|serve)\b(.*)", line.partition("#")[0]
        )
        if found is None:
            continue
        command, rest = tuple(found[1].split()), found[2]
        help_text = run(*command, "--help").stdout
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in help_text, line
        seen.add(command)
    assert {("users", "add"), ("tokens", "create"), ("tokens", "revoke"), ("check",), ("backup",)} <= seen
