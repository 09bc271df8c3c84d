"""`holdfast get`, `put` and `edit`: nobody's work is lost, whoever saves when."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.programs import peer
from tests.serving import Served, serving

pytestmark = pytest.mark.process


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder, users=None) as server:
        yield server


@pytest.fixture
def url(served: Served) -> str:
    return f"{served.url}/dav/plan.txt"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """What the commands are run in."""
    return tmp_path


def edits_with(environment: dict[str, str], work: Path, script: str) -> None:
    """Let $VISUAL be a Python script on the file that it is given."""
    program = work / "editor.py"
    program.write_text(f"import pathlib, sys\nfile = pathlib.Path(sys.argv[1])\n{script}\n")
    environment["VISUAL"] = f"'{sys.executable}' '{program}'"


class TestGetAndPut:
    def test_what_was_got_and_changed_is_saved_again_and_again(self, run, work: Path, url: str, folder: Path):
        assert run("get", url).stdout == "Got plan.txt.\n"
        for text in ("one", "two"):
            (work / "plan.txt").write_text(text)
            assert run("put", "plan.txt", url).stdout == f"Saved {url}.\n"
            assert (folder / "plan.txt").read_text() == text

    def test_what_somebody_else_has_saved_since_is_not_undone(
        self, run, work: Path, served: Served, url: str, folder: Path
    ):
        run("get", url)
        served.anonymous.put("/dav/plan.txt", b"theirs")
        (work / "plan.txt").write_text("mine")
        done = run("put", "plan.txt", url)
        assert (done.returncode, done.stdout) == (1, "")
        assert "was changed by somebody else" in done.stderr
        assert (folder / "plan.txt").read_text() == "theirs"
        assert (work / "plan.txt").read_text() == "mine"
        assert run("put", "--force", "plan.txt", url).returncode == 0
        assert (folder / "plan.txt").read_text() == "mine"

    def test_what_was_not_got_from_there_replaces_nothing(self, run, work: Path, url: str, folder: Path):
        (work / "plan.txt").write_text("another plan")
        done = run("put", "plan.txt", url)
        assert done.returncode == 1
        assert "With --force it is replaced" in done.stderr
        assert (folder / "plan.txt").read_text() == "a plan\n"

    def test_a_file_that_is_none_is_not_sent(self, run, work: Path, url: str):
        os.mkfifo(work / "pipe")
        for name in ("nosuch", "pipe", "."):
            assert run("put", name, url).stderr == f"holdfast: There is no file {name}.\n"

    def test_a_new_document_is_made(self, run, work: Path, url: str, folder: Path):
        (work / "new.txt").write_text("new")
        assert run("put", "new.txt", url.replace("plan", "new")).stdout.startswith("Made ")
        assert (folder / "new.txt").read_text() == "new"

    def test_a_lock_is_waited_for(self, run, work: Path, served: Served, url: str, folder: Path):
        run("get", url)
        token = served.anonymous.locked("/dav/plan.txt")
        (work / "plan.txt").write_text("mine")
        done = run("put", "--wait", "0", "plan.txt", url)
        assert done.returncode == 4
        assert "has locked it since" in done.stderr
        unlocking = threading.Timer(2.0, lambda: served.anonymous.unlock("/dav/plan.txt", token))
        unlocking.start()
        done = run("put", "--wait", "50s", "plan.txt", url)
        unlocking.join()
        assert (done.returncode, done.stderr) == (0, "")
        assert (folder / "plan.txt").read_text() == "mine"

    def test_after_a_wait_the_holders_change_is_not_undone(
        self, run, work: Path, served: Served, url: str, folder: Path
    ):
        """The holder writes, and unlocks: whoever waited meanwhile must see that first."""
        run("get", url)
        token = served.anonymous.locked("/dav/plan.txt")
        (work / "plan.txt").write_text("mine")

        def finish() -> None:
            served.anonymous.put("/dav/plan.txt", b"theirs", if_=f"(<{token}>)")
            served.anonymous.unlock("/dav/plan.txt", token)

        finishing = threading.Timer(2.0, finish)
        finishing.start()
        done = run("put", "--wait", "50s", "plan.txt", url)
        finishing.join()
        assert done.returncode == 1
        assert (folder / "plan.txt").read_text() == "theirs"

    def test_an_existing_file_is_replaced_with_force_alone(self, run, work: Path, url: str):
        (work / "plan.txt").write_text("mine")
        done = run("get", url)
        assert (done.returncode, done.stderr) == (2, "holdfast: plan.txt exists: with --force it is replaced.\n")
        assert run("get", "--force", url).returncode == 0
        assert (work / "plan.txt").read_text() == "a plan\n"

    def test_it_goes_to_standard_output_too(self, run, url: str):
        assert run("get", url, "-").stdout == "a plan\n"

    @pytest.mark.parametrize("end", ["", "..%2Fplan.txt", "%2E%2E", "a%00b"])
    def test_a_url_that_names_no_file_here_needs_a_name(self, run, work: Path, url: str, end: str):
        before = sorted(os.listdir(work))
        done = run("get", url.replace("plan.txt", end))
        assert (done.returncode, "names no document" in done.stderr) == (2, True)
        assert sorted(os.listdir(work)) == before

    def test_nothing_is_left_behind_where_there_is_nothing(self, run, work: Path, url: str):
        done = run("get", url.replace("plan", "nosuch"))
        assert done.returncode == 2
        assert "There is nothing at" in done.stderr
        assert [name for name in os.listdir(work) if "nosuch" in name] == []

    def test_what_is_remembered_is_for_its_owner_alone(self, run, environment, url: str):
        run("get", url)
        state = Path(environment["HOME"], ".local/state/holdfast")
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / "remembered.json").stat().st_mode) == 0o600

    def test_a_broken_memory_is_none(self, run, environment, work: Path, url: str):
        state = Path(environment["HOME"], ".local/state/holdfast")
        state.mkdir(parents=True)
        (state / "remembered.json").write_text('{"locks": 5')
        assert run("get", url).returncode == 0
        assert run("put", "plan.txt", url).returncode == 0


class TestEdit:
    def test_it_is_locked_while_it_is_edited_and_saved_and_unlocked(
        self, run, environment, work: Path, served: Served, url: str, folder: Path
    ):
        script = (
            "import urllib.request, urllib.error\n"
            "try:\n"
            f"    urllib.request.urlopen(urllib.request.Request({url!r}, b'theirs', method='PUT'))\n"
            "except urllib.error.HTTPError as error:\n"
            "    file.write_text(file.read_text() + str(error.code))"
        )
        edits_with(environment, work, script)
        done = run("edit", url)
        assert (done.returncode, done.stdout) == (0, f"Saved {url}.\n")
        assert (folder / "plan.txt").read_text() == "a plan\n423"
        assert served.anonymous.put("/dav/plan.txt").status == 204

    def test_a_new_document_begins_empty(self, run, environment, work: Path, url: str, folder: Path):
        edits_with(environment, work, "assert file.read_text() == ''; file.write_text('new')")
        assert run("edit", url.replace("plan", "new")).returncode == 0
        assert (folder / "new.txt").read_text() == "new"

    def test_what_was_not_changed_is_not_saved(self, run, environment, served: Served, url: str):
        etag = served.anonymous.get("/dav/plan.txt")["ETag"]
        environment["VISUAL"] = "true"
        assert run("edit", url).stdout == f"Nothing was changed in {url}.\n"
        assert served.anonymous.get("/dav/plan.txt")["ETag"] == etag

    def test_a_text_that_cannot_be_saved_is_kept(
        self, run, environment, work: Path, served: Served, url: str, folder: Path
    ):
        """An administrator breaks the lock while the editor is open, and somebody else saves."""
        script = (
            "import json, urllib.request\n"
            f"base = {served.url!r}\n"
            "[lock] = json.load(urllib.request.urlopen(base + '/api/locks'))['locks']\n"
            "body = json.dumps({'reason': 'needed'}).encode()\n"
            "urllib.request.urlopen(urllib.request.Request(base + lock['url'] + '/break', body, {'Content-Type': 'application/json'}))\n"
            f"urllib.request.urlopen(urllib.request.Request({url!r}, b'theirs', method='PUT'))\n"
            "file.write_text('mine')"
        )
        edits_with(environment, work, script)
        done = run("edit", url)
        assert done.returncode == 1, done.stderr
        assert (folder / "plan.txt").read_text() == "theirs"
        kept = Path(done.stderr.partition("Your text is kept in ")[2].strip())
        assert kept.name == "plan.txt"
        assert kept.read_text() == "mine"

    def test_an_editor_that_fails_saves_nothing_and_loses_nothing(
        self, run, environment, work: Path, url: str, folder: Path
    ):
        edits_with(environment, work, "file.write_text('half'); sys.exit(3)")
        done = run("edit", url)
        assert done.returncode == 1
        assert "exit code 3" in done.stderr
        assert (folder / "plan.txt").read_text() == "a plan\n"
        assert Path(done.stderr.partition("kept in ")[2].strip()).read_text() == "half"

    def test_one_that_somebody_else_has_locked_is_not_opened(
        self, run, environment, work: Path, served: Served, url: str
    ):
        served.anonymous.locked("/dav/plan.txt")
        edits_with(environment, work, f"pathlib.Path({str(work / 'opened')!r}).touch()")
        done = run("edit", "--wait", "0", url)
        assert done.returncode == 4
        assert "has locked it since" in done.stderr
        assert not (work / "opened").exists()

    def test_without_an_editor_nothing_is_locked(self, run, environment, served: Served, url: str):
        environment["VISUAL"] = "no-such-editor --wait"
        done = run("edit", url)
        assert (done.returncode, "There is no editor" in done.stderr) == (2, True)
        assert served.anonymous.put("/dav/plan.txt").status == 204

    @pytest.mark.parametrize("name", [pytest.param("apache", marks=pytest.mark.tool("apache2")), "wsgidav"])
    def test_servers_of_others_do_it_too(self, run, environment, work: Path, tmp_path: Path, name: str):
        edits_with(environment, work, "file.write_text(file.read_text() + 'edited')")
        with peer(name) as base:
            (work / "notes.txt").write_text("first ")
            assert run("put", "notes.txt", f"{base}/notes.txt").returncode == 0
            done = run("edit", f"{base}/notes.txt")
            assert (done.returncode, done.stdout) == (0, f"Saved {base}/notes.txt.\n"), done.stderr
            assert run("get", f"{base}/notes.txt", "-").stdout == "first edited"
