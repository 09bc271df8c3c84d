"""Who holds a file, asked of the real kernel about real processes; and of a made-up /proc for what needs other users or containers."""

from __future__ import annotations

import fcntl
import getpass
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.local import HolderKind, LocalHolder, LocalLook, Strength, holders, look
from holdfast.local.processes import ProcessTable
from tests.local.holding import held, running

pytestmark = pytest.mark.process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(bytes(100))
    return path


def only(path: Path) -> LocalHolder:
    [holder] = holders(path)
    return holder


class TestRealProcesses:
    @pytest.mark.parametrize(
        ("how", "kind", "strength", "words"),
        [
            ("posix", HolderKind.POSIX, Strength.EXCLUSIVE, "has locked it (fcntl, exclusive, bytes 5-14)"),
            ("posix-shared", HolderKind.POSIX, Strength.SHARED, "has locked it (fcntl, shared)"),
            ("ofd", HolderKind.OFD, Strength.EXCLUSIVE, "has locked it (fcntl, OFD, exclusive)"),
            ("lease", HolderKind.LEASE, Strength.EXCLUSIVE, "has a lease: it is told before another opens it"),
            ("open", HolderKind.OPEN, Strength.OPEN, "has it open for writing"),
        ],
    )
    def test_the_process_is_told_with_user_and_command_line(self, file: Path, how, kind, strength, words):
        with held(how, file) as process:
            holder = only(file)
        assert (holder.kind, holder.strength, holder.doing) == (kind, strength, words)
        assert holder.process is not None
        assert holder.process.pid == process.pid
        assert holder.process.user == getpass.getuser()
        assert str(file) in holder.process.command
        assert holder.is_in_the_way is (how != "open")
        assert holders(file) == []

    def test_when_it_was_started_is_told(self, file: Path):
        with held("posix", file):
            process = only(file).process
        assert process is not None
        assert process.started_at is not None
        assert abs((datetime.now(UTC) - process.started_at).total_seconds()) < 60

    def test_who_merely_reads_holds_nothing(self, file: Path):
        with held("read", file):
            assert holders(file) == []

    @pytest.mark.tool("flock")
    def test_a_flock_whose_process_has_ended_belongs_to_the_shell_that_has_it_open(self, file: Path):
        """As scripts do it: `exec 9>file; flock 9`. The process that the kernel names is flock(1), which is no more."""
        command = 'exec 9>>"$0"; flock 9; sleep 60 >&- & echo ready; read line; kill $!'
        with running(["bash", "-c", command, str(file)]) as shell:
            deadline = time.monotonic() + 20
            holder = only(file)
            # The shell's child is a copy of the shell until it has become the program.
            while [sharer.command for sharer in holder.sharers] != ["sleep 60"] and time.monotonic() < deadline:
                holder = only(file)
        assert holder.doing == "has locked it (flock, exclusive)"
        assert holder.process is not None
        assert holder.process.pid == shell.pid
        assert [sharer.command for sharer in holder.sharers] == ["sleep 60"]

    @pytest.mark.tool("flock")
    def test_who_waits_is_told_behind_who_holds_it(self, file: Path):
        with running(["flock", str(file), "bash", "-c", "echo ready; read line"]) as holder:
            waiter = subprocess.Popen(["flock", str(file), "true"])
            try:
                deadline = time.monotonic() + 20
                found: list[LocalHolder] = []
                while len(found) < 2 and time.monotonic() < deadline:
                    found = holders(file)
            finally:
                waiter.kill()
                waiter.wait()
        first, second = found
        assert first.process is not None
        assert first.process.pid == holder.pid
        assert (first.is_in_the_way, second.is_in_the_way, second.is_waiting) == (True, False, True)
        assert second.doing == "waits for a lock on it (flock, exclusive)"
        assert second.process is not None
        assert second.process.pid == waiter.pid

    def test_two_who_share_it_are_both_told(self, file: Path):
        with held("posix-shared", file) as one, held("posix-shared", file) as other:
            found = holders(file)
        assert {holder.process.pid for holder in found if holder.process} == {one.pid, other.pid}

    def test_a_link_leads_to_the_file_and_another_file_to_nobody(self, file: Path, tmp_path: Path):
        (tmp_path / "link").symlink_to(file)
        (tmp_path / "other").touch()
        with held("posix", file):
            assert len(holders(tmp_path / "link")) == 1
            assert holders(tmp_path / "other") == []

    def test_what_is_not_there_is_an_error(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError):
            holders(tmp_path / "nosuch")


class TestSqlite:
    @pytest.mark.parametrize(
        ("mode", "statements", "words", "strength"),
        [
            ("delete", "BEGIN IMMEDIATE", "SQLite: is writing (RESERVED: readers go on)", Strength.EXCLUSIVE),
            ("delete", "BEGIN EXCLUSIVE", "SQLite: is writing (EXCLUSIVE: nobody can read)", Strength.EXCLUSIVE),
            ("delete", "BEGIN;SELECT * FROM t", "SQLite: is reading (SHARED)", Strength.SHARED),
            ("wal", "BEGIN IMMEDIATE", "SQLite: is writing (WAL: readers go on)", Strength.EXCLUSIVE),
            ("wal", "BEGIN;SELECT * FROM t", "SQLite: is reading (WAL snapshot)", Strength.SHARED),
            ("wal", "SELECT 1", "SQLite: has it open (WAL mode)", Strength.OPEN),
        ],
    )
    def test_what_it_does_is_told_in_words(self, tmp_path: Path, mode, statements, words, strength):
        database = tmp_path / "app.db"
        with held("sqlite", database, mode, statements) as process:
            holder = only(database)
        assert (holder.kind, holder.doing, holder.strength) == (HolderKind.SQLITE, words, strength)
        assert holder.process is not None
        assert holder.process.pid == process.pid


class TestItself:
    def test_looking_drops_no_lock_of_this_process(self, file: Path):
        """Opening and closing the file would: POSIX locks belong to the process (POSIX.1-2017, fcntl)."""
        with file.open("r+b") as own:
            fcntl.lockf(own, fcntl.LOCK_EX)
            for _ in range(2):
                holder = only(file)
                assert holder.process is not None
                assert holder.process.pid == os.getpid()
            script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            other = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, check=False)
            assert b"BlockingIOError" in other.stderr

    def test_an_unreadable_file_is_looked_at_all_the_same(self, file: Path):
        with held("posix", file):
            file.chmod(0)
            assert only(file).process is not None


class MadeUp:
    """A folder like /proc, with processes that the test wants, on one real file."""

    def __init__(self, root: Path, file: Path) -> None:
        self.root = root
        self.file = file
        self.links: dict[str, Path] = {}
        self.hidden: set[str] = set()
        found = file.stat()
        self.key = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        root.mkdir()
        (root / "stat").write_text("cpu 0\nbtime 1700000000\n")
        self.locks("")

    def locks(self, *lines: str) -> None:
        (self.root / "locks").write_text("".join(f"{line.replace('KEY', self.key)}\n" for line in lines))

    def process(self, pid: int, *, fdinfo: str | None = None, hidden: bool = False) -> None:
        folder = self.root / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(b"backup\0--all files\0")
        (folder / "comm").write_text("backup\n")
        (folder / "status").write_text("Name:\tbackup\nUid:\t0\t0\t0\t0\n")
        (folder / "stat").write_text(f"{pid} (back) up) S " + " ".join(["0"] * 18) + " 12300 0")
        (folder / "fd").mkdir()
        (folder / "fdinfo").mkdir()
        if hidden:
            self.hidden.add(f"{folder}/fd")
        if fdinfo is not None:
            (folder / "fd" / "3").touch()
            (folder / "fdinfo" / "3").write_text(fdinfo.replace("KEY", self.key))
            self.links[f"{folder}/fd/3"] = self.file

    def look(self) -> LocalLook:
        return look(self.file, ProcessTable(self.root, self._stat, self._listdir))

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(self.links.get(name, Path("/dev/null")))

    def _listdir(self, name: str) -> list[str]:
        if name in self.hidden:
            raise PermissionError(13, "Permission denied", name)
        return os.listdir(name)


@pytest.fixture
def made_up(tmp_path: Path, file: Path) -> MadeUp:
    return MadeUp(tmp_path / "proc", file)


class TestOtherUsersAndContainers:
    def test_another_users_posix_lock_has_its_process_all_the_same(self, made_up: MadeUp):
        """Command line and account of a process are for all to see, unlike what it has open."""
        made_up.process(4711, hidden=True)
        made_up.locks("1: POSIX  ADVISORY  WRITE 4711 KEY 0 EOF")
        [holder] = made_up.look().holders
        assert holder.process is not None
        assert (holder.process.pid, holder.process.command) == (4711, "backup '--all files'")
        assert holder.process.started_at == datetime.fromtimestamp(1700000123, UTC)

    def test_another_users_ofd_lock_is_told_with_how_to_see_more(self, made_up: MadeUp):
        made_up.process(4711, hidden=True)
        made_up.locks("1: OFDLCK ADVISORY  WRITE -1 KEY 0 EOF")
        [holder] = made_up.look().holders
        assert holder.process is None
        assert holder.note == "held by a process of another user: run with sudo to see which"
        assert holder.is_in_the_way

    def test_a_lock_whose_process_is_in_no_sight_is_held_outside_the_container(self, made_up: MadeUp):
        made_up.locks("1: OFDLCK ADVISORY  WRITE -1 KEY 0 EOF")
        [holder] = made_up.look().holders
        assert holder.note == "held outside this container"

    def test_where_nobody_is_seen_it_is_said_that_not_all_could_be(self, made_up: MadeUp):
        for pid in (1, 2, 3):
            made_up.process(pid, hidden=True)
        seen = made_up.look()
        assert not seen.is_held
        assert seen.notes[0].startswith("3 processes of other users could not be looked into")

    def test_the_kernels_own_number_of_a_file_is_learnt_from_who_has_it_open(self, made_up: MadeUp):
        """As on btrfs and overlayfs, where stat(2) tells another device: the one who waits is found too."""
        other = "00:2a:77"
        made_up.process(10, fdinfo=f"flags:\t0100002\nlock:\t1: FLOCK  ADVISORY  WRITE 10 {other} 0 EOF\n")
        made_up.process(11)
        made_up.locks(f"1: FLOCK  ADVISORY  WRITE 10 {other} 0 EOF", f"1: -> FLOCK  ADVISORY  WRITE 11 {other} 0 EOF")
        first, second = made_up.look().holders
        assert first.process is not None
        assert second.process is not None
        assert (first.process.pid, second.process.pid, second.is_waiting) == (10, 11, True)

    def test_a_process_that_ends_while_it_is_looked_at_is_left_out(self, made_up: MadeUp):
        made_up.process(10, fdinfo="flags:\t0100002\n")
        (made_up.root / "10" / "cmdline").unlink()
        (made_up.root / "10" / "status").unlink()
        (made_up.root / "10" / "stat").unlink()
        [holder] = made_up.look().holders
        assert holder.process is not None
        assert (holder.process.command, holder.process.user, holder.process.started_at) == ("", "", None)

    def test_a_system_without_the_list_says_so_and_tells_lock_files(self, made_up: MadeUp):
        (made_up.root / "locks").unlink()
        (made_up.file.parent / ".~lock.data#").write_text("Ada,ada,laptop,22.11.2026 10:15,x;")
        seen = made_up.look()
        assert [holder.name for holder in seen.holders] == ["Ada"]
        assert "told by Linux alone" in seen.notes[0]
