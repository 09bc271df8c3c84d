"""curl, as people and scripts use it: two users on one document, uploads that are refused before they are sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.programs.conftest import Serving, run
from tests.serving import LOCKINFO

pytestmark = [pytest.mark.process, pytest.mark.tool("curl")]


def curl(user: str, *arguments: object) -> tuple[int, str]:
    """(status, head and body)."""
    said = run("curl", "-s", "-i", "-u", f"{user}:{user}-secret", "-w", "\n%{http_code}", *arguments)
    return int(said.rsplit("\n", 1)[1]), said


def test_two_people_and_one_document(serving: Serving, tmp_path: Path) -> None:
    document = serving.url + "plan.txt"
    text = tmp_path / "text"
    text.write_text("one")
    assert curl("alice", "-T", text, document)[0] == 201
    status, said = curl(
        "alice", "-X", "LOCK", "-H", "Timeout: Second-600", "-H", "Depth: 0", "--data", LOCKINFO.decode(), document
    )
    assert status == 200
    token = re.search(r"^Lock-Token: (<.*>)", said, re.MULTILINE | re.IGNORECASE)
    assert token is not None
    status, said = curl("bob", "-T", text, "-H", "Accept: application/problem+json", document)
    assert status == 423
    problem = json.loads(said.rsplit("\n", 1)[0].split("\n\n", 1)[-1].splitlines()[-1])
    assert problem["locks"][0]["holder"]["name"] == "alice"
    assert curl("alice", "-T", text, "-H", f"If: ({token[1]})", document)[0] == 204
    assert curl("alice", "-X", "UNLOCK", "-H", f"Lock-Token: {token[1]}", document)[0] == 204
    assert curl("bob", "-T", text, document)[0] == 204


def test_a_large_upload_to_a_locked_document_is_refused_before_it_is_sent(serving: Serving, tmp_path: Path) -> None:
    document = serving.url + "film.mkv"
    assert curl("alice", "-X", "LOCK", "-H", "Depth: 0", "--data", LOCKINFO.decode(), document)[0] == 201
    film = tmp_path / "film"
    with film.open("wb") as file:
        file.truncate(200_000_000)
    said = run(
        "curl", "-s", "-u", "bob:bob-secret", "-o", tmp_path / "out", "-w", "%{http_code} %{size_upload}",
        "-H", "Expect: 100-continue", "--expect100-timeout", "60", "-T", film, document,
    )  # fmt: skip
    assert said == "423 0"


def test_an_upload_and_a_download_of_some_size_come_out_the_same(serving: Serving, tmp_path: Path) -> None:
    film, back = tmp_path / "film", tmp_path / "back"
    film.write_bytes(bytes(range(256)) * 100_000)
    assert curl("alice", "-T", film, serving.url + "film")[0] == 201
    run("curl", "-s", "-f", "-u", "bob:bob-secret", "-o", back, serving.url + "film")
    assert back.read_bytes() == film.read_bytes()
    run("curl", "-s", "-f", "-u", "bob:bob-secret", "-r", "1000-1999", "-o", back, serving.url + "film")
    assert back.read_bytes() == film.read_bytes()[1000:2000]
