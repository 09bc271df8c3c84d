"""`holdfast check` and `holdfast backup` as an administrator uses them, with a server that runs, ran or was killed."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

pytestmark = pytest.mark.process

_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
_PROPERTY = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><c xmlns="urn:x">red</c></D:prop></D:set></D:propertyupdate>'
)


def take_lock(url: str) -> str:
    """The lock token."""
    answer = httpx.request("LOCK", url, content=_LOCKINFO, headers={"Content-Type": "application/xml"})
    assert answer.is_success, answer.text
    return answer.headers["Lock-Token"]


def used(serve, folder: Path, *flags: object) -> str:
    """Serve, take a lock, set a dead property, stop; the lock token."""
    server = serve(folder, *flags)
    token = take_lock(server.webdav_url + "plan.txt")
    answer = httpx.request("PROPPATCH", server.webdav_url + "plan.txt", content=_PROPERTY, headers={"If": f"({token})"})
    assert answer.status_code == 207
    server.stop()
    return token


def report(run, *arguments: object) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code, and the findings by topic as pairs of level and text."""
    done = run("check", *arguments, "--json")
    assert not done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    said = json.loads(done.stdout)
    for finding in said["findings"]:
        found.setdefault(finding["topic"], []).append((finding["level"], finding["text"]))
    assert said["ok"] is (done.returncode == 0)
    return done.returncode, found


class TestCheck:
    def test_a_folder_that_was_served_is_well(self, run, serve, folder: Path):
        used(serve, folder)
        before = (folder / ".holdfast" / "locks.db").read_bytes()
        done = run("check", folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("All is well.\n")
        assert "No server is using it." in done.stdout
        assert "1 held." in done.stdout
        assert (folder / ".holdfast" / "locks.db").read_bytes() == before

    def test_a_server_that_uses_it_is_named_and_goes_on(self, run, serve, folder: Path):
        server = serve(folder)
        take_lock(server.webdav_url + "plan.txt")
        code, found = report(run, folder)
        assert code == 0
        assert found["server"] == [("ok", f"In use by a server (process {server.process.pid}).")]
        assert found["locks"] == [("ok", "1 held.")]
        assert httpx.get(server.webdav_url + "plan.txt").status_code == 200

    def test_a_state_folder_elsewhere_is_checked_by_its_name_alone(self, run, serve, folder: Path, tmp_path: Path):
        used(serve, folder, "--state", tmp_path / "state")
        assert report(run, "--state", tmp_path / "state")[0] == 0
        assert run("check", folder).returncode == 2

    def test_the_state_folder_in_place_of_the_served_one_is_understood(self, run, serve, folder: Path, tmp_path: Path):
        used(serve, folder)
        by_folder, by_state = run("check", folder), run("check", folder / ".holdfast")
        assert (by_state.returncode, by_state.stdout) == (0, by_folder.stdout)
        assert run("backup", folder / ".holdfast", tmp_path / "copy.db").returncode == 0
        assert "lies in the served folder" in run("backup", folder / ".holdfast", folder / "copy.db").stderr

    def test_a_state_folder_elsewhere_named_as_the_served_one_draws_a_hint(
        self, run, serve, folder: Path, tmp_path: Path
    ):
        state = tmp_path / "the state"
        used(serve, folder, "--state", state)
        hint = f"holdfast: {state} is a state folder itself: name it with --state '{state}'.\n"
        assert run("check", state).stderr == hint
        assert run("backup", state, tmp_path / "copy.db").stderr == hint

    def test_what_a_killed_server_left_is_a_notice_and_gone_after_the_next_start(self, run, serve, folder: Path):
        server = serve(folder)
        parts = urlsplit(server.webdav_url)
        with socket.create_connection((parts.hostname, parts.port)) as upload:
            upload.sendall(
                b"PUT /dav/new.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 3_000_000
            )
            staged = folder / ".holdfast" / "staging"
            while not any(path.is_file() and path.stat().st_size for path in staged.glob("*/*")):
                pass
            server.stop(signal.SIGKILL)
        code, found = report(run, folder)
        assert code == 0
        [(level, text)] = found["staging"]
        assert level == "notice"
        assert text.startswith("1 file (")
        serve(folder).stop()
        assert report(run, folder)[1]["staging"] == [("ok", "Nothing was left behind.")]

    def test_properties_of_a_document_that_was_removed_behind_the_server_s_back_are_a_notice(
        self, run, serve, folder: Path
    ):
        used(serve, folder)
        assert report(run, folder)[1]["properties"][0][0] == "ok"
        (folder / "plan.txt").unlink()
        code, found = report(run, folder)
        assert code == 0
        assert found["properties"][0][0] == "notice"
        assert "/dav/plan.txt" in found["properties"][0][1]

    @pytest.mark.parametrize(
        ("name", "mode", "said"), [(".", 0o755, "look into the folder"), ("locks.db", 0o644, "use locks.db")]
    )
    def test_a_folder_or_database_that_others_may_read_is_a_fault(self, run, serve, folder: Path, name, mode, said):
        used(serve, folder)
        (folder / ".holdfast" / name).chmod(mode)
        code, found = report(run, folder)
        assert code == 1
        assert said in str(found["permissions"])

    def test_counters_that_disagree_are_a_fault(self, run, serve, folder: Path):
        used(serve, folder)
        with closing(sqlite3.connect(folder / ".holdfast" / "locks.db", isolation_level=None)) as database:
            database.execute("UPDATE counters SET locks = 99")
        done = run("check", folder)
        assert done.returncode == 1
        assert "fault   counters       99 locks are counted and 1 kept." in done.stdout
        assert done.stdout.endswith("Something is at fault.\n")

    def test_a_database_that_is_none_is_a_fault_and_not_a_traceback(self, run, serve, folder: Path):
        used(serve, folder)
        (folder / ".holdfast" / "locks.db").write_bytes(b"nothing " * 1000)
        code, found = report(run, folder)
        assert code == 1
        assert "is not a database" in str(found["database"])

    def test_what_cannot_be_checked_is_a_sentence(self, run, folder: Path, tmp_path: Path):
        for arguments, said in (
            ([], "Name the served folder"),
            ([folder], "There is no state folder"),
            ([tmp_path / "none"], "There is no folder"),
            (["--state", tmp_path / "none"], "There is no state folder"),
        ):
            done = run("check", *arguments)
            assert done.returncode == 2
            assert said in done.stderr
        assert not (folder / ".holdfast").exists()


class TestBackup:
    def test_a_backup_of_a_running_server_is_restored_as_the_document_says(
        self, run, serve, folder: Path, tmp_path: Path
    ):
        server = serve(folder)
        token = take_lock(server.webdav_url + "plan.txt")
        done = run("backup", folder, tmp_path / "copy.db")
        assert done.returncode == 0, done.stderr
        assert " 1 lock, " in done.stdout
        take_lock(server.webdav_url + "later.txt")
        server.stop()

        state = folder / ".holdfast"
        for name in ("locks.db", "locks.db-wal", "locks.db-shm"):
            (state / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "copy.db", state / "locks.db")
        assert report(run, folder)[0] == 0

        restored = serve(folder).webdav_url
        assert httpx.put(restored + "plan.txt", content=b"x").status_code == 423
        assert httpx.put(restored + "plan.txt", content=b"x", headers={"If": f"({token})"}).status_code == 204
        assert httpx.put(restored + "later.txt", content=b"x").status_code == 204

    def test_a_stopped_server_and_a_state_folder_elsewhere_are_backed_up_too(
        self, run, serve, folder: Path, tmp_path: Path
    ):
        used(serve, folder, "--state", tmp_path / "state")
        assert run("backup", folder, tmp_path / "copy.db", "--state", tmp_path / "state").returncode == 0
        assert (tmp_path / "copy.db").exists()

    def test_what_a_killed_server_had_only_in_its_log_is_in_the_backup(self, run, serve, folder: Path, tmp_path: Path):
        server = serve(folder)
        take_lock(server.webdav_url + "plan.txt")
        server.stop(signal.SIGKILL)
        assert (folder / ".holdfast" / "locks.db-wal").stat().st_size > 0
        assert " 1 lock, " in run("backup", folder, tmp_path / "copy.db").stdout
        assert "1 held." in run("check", folder).stdout

    def test_what_exists_is_replaced_only_with_force(self, run, serve, folder: Path, tmp_path: Path):
        used(serve, folder)
        (tmp_path / "copy.db").write_text("precious")
        done = run("backup", folder, tmp_path / "copy.db")
        assert done.returncode == 2
        assert "--force" in done.stderr
        assert (tmp_path / "copy.db").read_text() == "precious"
        assert run("backup", folder, tmp_path / "copy.db", "--force").returncode == 0
        assert run("check", folder).returncode == 0

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("documents/copy.db", "lies in the served folder"),
            ("documents/.holdfast/locks.db", "lies in the state folder"),
            ("link/copy.db", "lies in the served folder"),
            ("home/../documents/copy.db", "lies in the served folder"),
        ],
    )
    def test_no_backup_where_clients_could_read_it_or_over_the_database(
        self, run, serve, folder: Path, tmp_path: Path, target: str, said: str
    ):
        used(serve, folder)
        (tmp_path / "link").symlink_to(folder)
        before = (folder / ".holdfast" / "locks.db").read_bytes()
        done = run("backup", folder, tmp_path / target, "--force")
        assert done.returncode == 2
        assert said in done.stderr
        assert (folder / ".holdfast" / "locks.db").read_bytes() == before
        assert not (folder / "copy.db").exists()

    def test_without_a_database_there_is_none(self, run, folder: Path, tmp_path: Path):
        (folder / ".holdfast").mkdir()
        done = run("backup", folder, tmp_path / "copy.db")
        assert done.returncode == 2
        assert "There is no database" in done.stderr
