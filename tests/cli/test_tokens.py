"""`holdfast tokens`: a token is shown once, lets a program in at a real server, and ends when it is revoked."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from holdfast.access.users_file import UsersFile
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath

pytestmark = pytest.mark.process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "team.json"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_token_alone_is_on_standard_output_and_its_hash_alone_in_the_file(run, file: Path):
    done = run("tokens", "create", "ci", "--role", "reader", "--path", "/dav/builds", "--users", file)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"hf_[0-9a-f]{10}_[0-9a-f]{64}\n", done.stdout)
    token = done.stdout.strip()
    assert token.split("_")[2] not in file.read_text() + done.stderr
    assert "shown this once" in done.stderr
    [record] = UsersFile(file).load_all().tokens.values()
    assert record.grants == (Grant(Role.READER, ResourcePath("/dav/builds")),)
    assert record.expires_at is not None
    assert (record.expires_at - record.created_at).days == 90
    assert record.matches(token)


def test_the_list_shows_what_each_may_do_and_until_when_but_no_secret(run, file: Path):
    token = run("tokens", "create", "ci", "--expires", "2w", "--users", file).stdout.strip()
    run("tokens", "create", "backup", "--role", "admin", "--expires", "never", "--users", file)
    shown = run("tokens", "list", "--users", file).stdout
    first, second = shown.splitlines()
    assert re.fullmatch(r"backup  [0-9a-f]{10}  admin at /  created \S+ \S+ UTC  never expires", first)
    assert re.fullmatch(
        rf"ci      {token.split('_')[1]}  writer at /  created \S+ \S+ UTC  expires \S+ \S+ UTC", second
    )
    assert token.split("_")[2] not in shown


def test_an_expired_token_is_listed_as_such_and_its_name_can_be_used_again(run, file: Path):
    run("tokens", "create", "ci", "--users", file)
    kept = json.loads(file.read_text())
    [entry] = kept["tokens"].values()
    entry["expires"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(kept))
    assert "expired 2020-01-01 00:00 UTC" in run("tokens", "list", "--users", file).stdout
    assert run("tokens", "create", "ci", "--users", file).returncode == 0
    assert len(UsersFile(file).load_all().tokens) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "ci"], "already"),
        (["create", "a:b"], "none of :"),
        (["create", "new", "--role", "owner"], "not a role"),
        (["create", "new", "--path", "/../x"], "dot segment"),
        (["create", "new", "--expires", "soon"], "no span of time"),
        (["create", "new", "--expires", "0d"], "no span of time"),
        (["create", "new", "--expires", "11000d"], "more than ten years"),
        (["revoke", "new"], "no token new"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(run, file: Path, arguments, sentence):
    run("tokens", "create", "ci", "--users", file)
    before = file.read_bytes()
    done: subprocess.CompletedProcess[str] = run("tokens", *arguments, "--users", file)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not done.stdout
    assert file.read_bytes() == before


def test_a_program_works_with_its_token_and_stops_when_it_is_revoked(run, serve, folder: Path, file: Path):
    run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n")
    server = serve(folder, "--users", file)
    url = server.webdav_url + "plan.txt"
    token = run("tokens", "create", "ci", "--users", file).stdout.strip()
    reader = run("tokens", "create", "backup", "--role", "reader", "--users", file).stdout.strip()
    refused = httpx.get(url)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="Holdfast", charset="UTF-8", Bearer realm="Holdfast"'

    with httpx.Client() as client:  # the server looks at the file once a second; asking again is no guess that counts
        while client.get(url, headers=bearer(reader)).status_code == 401:
            pass
    assert httpx.put(url, headers=bearer(token), content=b"built").status_code == 204
    assert httpx.get(url, headers=bearer(reader)).text == "built"
    assert httpx.put(url, headers=bearer(reader), content=b"x").status_code == 403

    locked = httpx.request("LOCK", url, headers=bearer(token) | {"Content-Type": "application/xml"}, content=_LOCKINFO)
    assert locked.status_code == 200
    other = httpx.put(url, auth=("alice", "secret word"), headers={"Accept": "application/problem+json"}, content=b"y")
    assert other.status_code == 423
    assert other.json()["locks"][0]["holder"]["name"] == "token:ci"

    assert run("tokens", "revoke", "ci", "--users", file).returncode == 0
    with httpx.Client() as client:
        while client.get(url, headers=bearer(token)).status_code != 401:
            pass
    _, said, errors = server.stop()
    assert token.split("_")[2] not in said + errors


def test_tokens_alone_are_enough_to_serve(run, serve, folder: Path, file: Path):
    token = run("tokens", "create", "ci", "--users", file).stdout.strip()
    server = serve(folder, "--users", file)
    assert any("token:ci" in line for line in server.lines)
    assert httpx.get(server.webdav_url + "plan.txt").status_code == 401
    assert httpx.get(server.webdav_url + "plan.txt", headers=bearer(token)).status_code == 200


_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
